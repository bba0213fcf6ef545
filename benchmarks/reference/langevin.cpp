// The floor of the Langevin hot loop: what mcdev computes, written by hand for this one problem.
//
// Same scheme, noise law, generator and update interval as mcdev/integrators/langevin.py and
// mcdev/devices/diffusive.py in float32; parameters of the preset wang2017_reduced. Lanes run over realisations, so that
// every inner loop is one that the compiler turns into vector instructions; a block of lanes stays in the first-level
// cache from the first step to the last. Sorting is exact (Batcher's network).
#include <immintrin.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

namespace {

#ifdef __AVX512F__
constexpr int WIDE = 16;
#else
constexpr int WIDE = 8;
#endif
constexpr int LANES = 64;  // realisations that are advanced together
constexpr int ROWS = LANES / WIDE;
constexpr int MOST = 128;  // particles

typedef float Real __attribute__((vector_size(4 * WIDE)));
typedef uint32_t Word __attribute__((vector_size(4 * WIDE)));
typedef int32_t Integer __attribute__((vector_size(4 * WIDE)));
typedef Real Row[ROWS];

constexpr float W_I = 4.5f, X_C = 0.85f, R_I = 0.1f, R_P = 0.15f;
constexpr float TUNNELLING = 0.2f, DRIFT = 9.0f, ETA = 4.0f, THETA_0 = 0.45f;
constexpr float PI = 3.14159265358979f;
constexpr float ROUND = 12582912.0f;  // 1.5 · 2^23: adding it leaves the nearest integer in the low bits

inline Real real(Integer x) { return __builtin_convertvector(x, Real); }
inline Real absolute(Real x) { return Real(Word(x) & 0x7FFFFFFFu); }

#ifdef __AVX512F__
inline Real root(Real x) { return Real(_mm512_sqrt_ps(__m512(x))); }
inline Real larger(Real a, Real b) { return Real(_mm512_max_ps(__m512(a), __m512(b))); }
inline Real smaller(Real a, Real b) { return Real(_mm512_min_ps(__m512(a), __m512(b))); }
#else
inline Real root(Real x) { return Real(_mm256_sqrt_ps(__m256(x))); }
inline Real larger(Real a, Real b) { return Real(_mm256_max_ps(__m256(a), __m256(b))); }
inline Real smaller(Real a, Real b) { return Real(_mm256_min_ps(__m256(a), __m256(b))); }
#endif

// 2^x for -125 ≤ x ≤ 125; what is below is clamped. The polynomials are those of mcdev/integrators/elementary.py.
inline Real power_of_two(Real x) {
    x = larger(x, Real{} - 125.0f);
    const Real shifted = x + ROUND;
    const Real f = x - (shifted - ROUND);
    Real p = f * 0.001327646679f + 0.009675541293f;
    p = p * f + 0.0555071329f;
    p = p * f + 0.2402211972f;
    p = p * f + 0.6931469671f;
    p = p * f + 1.000000072f;
    return Real(Word(p) + (Word(shifted) << 23));
}

// -2 ln u of the upper 24 bits, centred in their cells.
inline Real minus_twice_logarithm(Word bits) {
    const Word pattern = Word(real(Integer(bits >> 8)) + 0.5f) - (0x3F3504F3u + (24u << 23));
    const Real n = real(Integer(pattern) >> 23);
    const Real m = Real((pattern & 0x007FFFFFu) + 0x3F3504F3u) - 1.0f;
    Real p = m * 0.2021352824f - 0.3244504877f;
    p = p * m + 0.3450169639f;
    p = p * m - 0.3980034641f;
    p = p * m + 0.4993981655f;
    p = p * m - 0.6667011736f;
    p = p * m + 1.000007303f;
    p = p * m - 1.999999891f;
    return m * p + n * -1.38629436f;
}

// cos 2πz as sin 2πy with |y| ≤ 1/4.
inline Real cosine_turns(Real z) {
    const Real nearest = (z + ROUND) - ROUND;
    const Real y = 0.25f - absolute(z - nearest);
    const Real s = y * y;
    Real p = s * 39.53670558f - 76.54978222f;
    p = p * s + 81.60100407f;
    p = p * s - 41.34165503f;
    p = p * s + 6.28318516f;
    return p * y;
}

inline Word turned(Word x, int by) { return (x << by) | (x >> (32 - by)); }

template <int ROUNDS>
inline void threefry(Word k0, Word k1, uint32_t c0, uint32_t c1, Word &a, Word &b) {
    constexpr int rotation[8] = {13, 15, 26, 6, 17, 29, 16, 24};
    const Word key[3] = {k0, k1, k0 ^ k1 ^ 0x1BD11BDAu};
    a = c0 + k0;
    b = c1 + k1;
#pragma GCC unroll 32
    for (int r = 0; r < ROUNDS; ++r) {
        a += b;
        b = turned(b, rotation[r % 8]) ^ a;
        if (r % 4 == 3) {
            a += key[(r / 4 + 1) % 3];
            b += key[(r / 4 + 2) % 3] + static_cast<uint32_t>(r / 4 + 1);
        }
    }
}

// A hash that costs next to nothing and has passed no battery: shows what the random bits cost.
template <>
inline void threefry<0>(Word k0, Word k1, uint32_t c0, uint32_t c1, Word &a, Word &b) {
    Word h = k0 + (c0 * 0x9E3779B1u ^ c1 * 0x85EBCA77u);
    h = (h ^ (h >> 16)) * 0x2C1B3C6Du;
    h ^= h >> 12;
    a = (h + k1) * 0x297A2D39u;
    b = (h ^ k1) * 0xC2B2AE3Du;
    a ^= a >> 15;
}

std::vector<std::pair<int, int>> network(int n) {  // Batcher's odd-even merge sort
    std::vector<std::pair<int, int>> found;
    for (int span = 1; span < n; span *= 2)
        for (int stride = span; stride >= 1; stride /= 2)
            for (int start = stride % span; start < n - stride; start += 2 * stride)
                for (int i = start; i < start + stride && i < n - stride; ++i)
                    if (i / (2 * span) == (i + stride) / (2 * span)) found.emplace_back(i, i + stride);
    return found;
}

void conductance(const Row *x, int particles, const std::vector<std::pair<int, int>> &comparators, Row g) {
    static thread_local Row sorted[MOST];
    std::memcpy(sorted, x, sizeof(Row) * particles);
    for (const auto &[low, high] : comparators)
        for (int r = 0; r < ROWS; ++r) {
            const Real a = sorted[low][r], b = sorted[high][r];
            sorted[low][r] = smaller(a, b);
            sorted[high][r] = larger(a, b);
        }
    const float equal = 2.0f / (particles + 1), rate = 1.44269504f / TUNNELLING;
    for (int r = 0; r < ROWS; ++r) {
        Real total = power_of_two((sorted[0][r] + (1.0f - equal)) * rate) +
                     power_of_two(((1.0f - equal) - sorted[particles - 1][r]) * rate);
        for (int p = 1; p < particles; ++p) total += power_of_two((sorted[p][r] - sorted[p - 1][r] - equal) * rate);
        g[r] = (particles + 1.0f) / total;
    }
}

inline Real force(Real x) {
    const Real y = (x - Real((Word(x) & 0x80000000u) | Word(Real{} + X_C))) * (1.0f / R_I);
    return (-2.0f * W_I / R_I) * y * power_of_two(y * y * -1.44269504f) - (PI / R_P) * cosine_turns(x * (1.0f / R_P));
}

template <bool HEUN>
inline Real moved(Real x, float h, float pull, Real kick) {
    const Real here = force(x) + pull;
    Real y = x + h * here + kick;
    if (HEUN) y = x + (0.5f * h) * (here + (force(y) + pull)) + kick;
    y = larger(smaller(y, 2.0f - y), -2.0f - y);  // the mirror at either wall
    return larger(smaller(y, Real{} + 1.0f), Real{} - 1.0f);
}

template <bool HEUN, int ROUNDS>
void group(Row *x, Row g, const Word *k0, const Word *k1, int particles, int steps, int every, float dt, float v,
           const std::vector<std::pair<int, int>> &comparators) {
    Row theta, s;
    const float h = dt / ETA, pull = DRIFT * v, elapsed = dt * every;
    const float half = std::expm1(-0.5f * elapsed), whole = std::expm1(-elapsed);
    for (int r = 0; r < ROWS; ++r) theta[r] = Real{} + THETA_0;
    conductance(x, particles, comparators, g);
    for (int done = 0; done < steps; done += every) {
        for (int r = 0; r < ROWS; ++r) {
            const Real gap = THETA_0 + v * v * g[r] - theta[r];
            s[r] = root(2.0f * h * (theta[r] - gap * half));
            theta[r] -= gap * whole;
        }
        for (int pair = done / 2; pair < (done + every) / 2; ++pair)
            for (int p = 0; p < particles; ++p)
                for (int r = 0; r < ROWS; ++r) {
                    Word a, b;
                    threefry<ROUNDS>(k0[r], k1[r], pair, p, a, b);
                    const Real radius = s[r] * root(minus_twice_logarithm(a));
                    const Real angle = real(Integer(b)) * 2.3283064365386963e-10f;
                    const Real y = moved<HEUN>(x[p][r], h, pull, radius * cosine_turns(angle));
                    x[p][r] = moved<HEUN>(y, h, pull, radius * cosine_turns(angle - 0.25f));
                }
        conductance(x, particles, comparators, g);
    }
}

}  // namespace

// Positions x [particle, realisation], in and out; g, k0, k1 [realisation], a multiple of 64. rounds: 20 or 13 of
// Threefry, 0 for the cheap hash. Returns 0, or 1 for sizes that it was not written for.
extern "C" int langevin(float *x, float *g, const uint32_t *k0, const uint32_t *k1, int realisations, int particles,
                        int steps, int every, float dt, float v, int heun, int rounds) {
    if (realisations % LANES || particles > MOST || every % 2 || steps % every) return 1;
    const auto comparators = network(particles);
    static thread_local Row block[MOST];
    Row conducted;
    Word keys[2][ROWS];
    for (int first = 0; first < realisations; first += LANES) {
        for (int p = 0; p < particles; ++p)
            std::memcpy(block[p], x + static_cast<long>(p) * realisations + first, sizeof(Row));
        std::memcpy(keys[0], k0 + first, sizeof(Row));
        std::memcpy(keys[1], k1 + first, sizeof(Row));
#define RUN(HEUN, ROUNDS) \
    group<HEUN, ROUNDS>(block, conducted, keys[0], keys[1], particles, steps, every, dt, v, comparators)
        if (heun && rounds == 20) RUN(true, 20);
        else if (heun && rounds == 13) RUN(true, 13);
        else if (heun && rounds == 0) RUN(true, 0);
        else if (!heun && rounds == 20) RUN(false, 20);
        else if (!heun && rounds == 13) RUN(false, 13);
        else if (!heun && rounds == 0) RUN(false, 0);
        else return 1;
#undef RUN
        std::memcpy(g + first, conducted, sizeof(Row));
        for (int p = 0; p < particles; ++p)
            std::memcpy(x + static_cast<long>(p) * realisations + first, block[p], sizeof(Row));
    }
    return 0;
}
