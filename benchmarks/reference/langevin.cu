// The floor of the Langevin hot loop on a GPU: what mcdev computes, written by hand for this one problem.
//
// Scheme, noise law, generator and update interval are those of langevin.cpp. One thread for each particle of a few
// realisations: between two updates a particle stays in registers and nobody talks to anybody; then the block meets in
// shared memory, where every particle finds its place in the order by counting, takes the exponential of the gap before
// it, and a warp adds up a realisation's gaps (an atomic sum of floats in shared memory is a lock for which they queue).
#include <cstdint>
#include <cstdio>

namespace {

constexpr float W_I = 4.5f, X_C = 0.85f, R_I = 0.1f, R_P = 0.15f;
constexpr float TUNNELLING = 0.2f, DRIFT = 9.0f, ETA = 4.0f, THETA_0 = 0.45f;
constexpr float PI = 3.14159265358979f;
constexpr int TOGETHER = 4;  // realisations of a block
constexpr int MOST = 128;    // particles
constexpr int WARP = 32;

struct Words {
    uint32_t a, b;
};

__device__ inline Words threefry(uint32_t k0, uint32_t k1, uint32_t c0, uint32_t c1) {
    constexpr int rotation[8] = {13, 15, 26, 6, 17, 29, 16, 24};
    const uint32_t key[3] = {k0, k1, k0 ^ k1 ^ 0x1BD11BDAu};
    uint32_t a = c0 + k0, b = c1 + k1;
#pragma unroll
    for (int r = 0; r < 20; ++r) {
        a += b;
        b = __funnelshift_l(b, b, rotation[r % 8]) ^ a;
        if (r % 4 == 3) {
            a += key[(r / 4 + 1) % 3];
            b += key[(r / 4 + 2) % 3] + static_cast<uint32_t>(r / 4 + 1);
        }
    }
    return {a, b};
}

__device__ inline float force(float x) {
    const float y = (x - copysignf(X_C, x)) * (1.0f / R_I);
    return (-2.0f * W_I / R_I) * y * __expf(-y * y) - (PI / R_P) * __cosf(x * (2.0f * PI / R_P));
}

template <bool HEUN>
__device__ inline float moved(float x, float h, float pull, float kick) {
    const float here = force(x) + pull;
    float y = x + h * here + kick;
    if (HEUN) y = x + (0.5f * h) * (here + (force(y) + pull)) + kick;
    y = fmaxf(fminf(y, 2.0f - y), -2.0f - y);  // the mirror at either wall
    return fmaxf(fminf(y, 1.0f), -1.0f);
}

// x [realisation, particle], k0, k1, g [realisation].
template <bool HEUN>
__global__ void langevin(float *x, float *g, const uint32_t *k0, const uint32_t *k1, int realisations, int particles,
                         int steps, int every, float dt, float v) {
    __shared__ float place[TOGETHER][MOST], ordered[TOGETHER][MOST + 2], part[TOGETHER][MOST], total[TOGETHER];
    const int own = threadIdx.x / particles, p = threadIdx.x % particles;
    const int r = blockIdx.x * TOGETHER + own;
    const bool here = r < realisations;
    const int at = here ? r : realisations - 1;  // who has nothing to do does the last one's work, and drops it
    float position = x[static_cast<long>(at) * particles + p];
    const uint32_t key0 = k0[at], key1 = k1[at];
    const float h = dt / ETA, pull = DRIFT * v, elapsed = dt * every;
    const float half = expm1f(-0.5f * elapsed), whole = expm1f(-elapsed);
    const float equal = 2.0f / (particles + 1), rate = 1.0f / TUNNELLING;
    float theta = THETA_0, conducted = 0.0f;
    for (int done = 0;; done += every) {
        place[own][p] = position;
        if (p == 0) {
            ordered[own][0] = -1.0f;
            ordered[own][particles + 1] = 1.0f;
        }
        __syncthreads();
        int rank = 1;
        for (int q = 0; q < particles; ++q) {
            const float other = place[own][q];
            rank += other < position || (other == position && q < p);
        }
        ordered[own][rank] = position;
        __syncthreads();
        float gap_before = expf((ordered[own][p + 1] - ordered[own][p] - equal) * rate);
        if (p == 0) gap_before += expf((1.0f - ordered[own][particles] - equal) * rate);
        part[own][p] = gap_before;
        __syncthreads();
        for (int sum = threadIdx.x / WARP; sum < TOGETHER; sum += blockDim.x / WARP) {
            float some = 0.0f;
            for (int q = threadIdx.x % WARP; q < particles; q += WARP) some += part[sum][q];
            for (int away = WARP / 2; away > 0; away /= 2) some += __shfl_down_sync(0xffffffffu, some, away);
            if (threadIdx.x % WARP == 0) total[sum] = some;
        }
        __syncthreads();
        conducted = (particles + 1) / total[own];
        if (done >= steps) break;
        const float gap = THETA_0 + v * v * conducted - theta;
        const float s = sqrtf(2.0f * h * (theta - gap * half));
        theta -= gap * whole;
        for (int pair = done / 2; pair < (done + every) / 2; ++pair) {
            const Words bits = threefry(key0, key1, pair, p);
            const float u = (static_cast<float>(bits.a >> 8) + 0.5f) * 5.9604644775390625e-8f;
            const float radius = s * sqrtf(-2.0f * __logf(u));
            float sine, cosine;
            __sincosf(static_cast<int32_t>(bits.b) * (2.0f * PI * 2.3283064365386963e-10f), &sine, &cosine);
            position = moved<HEUN>(position, h, pull, radius * cosine);
            position = moved<HEUN>(position, h, pull, radius * sine);
        }
        __syncthreads();
    }
    if (here) {
        x[static_cast<long>(r) * particles + p] = position;
        if (p == 0) g[r] = conducted;
    }
}

}  // namespace

#define TRY(call)                                                        \
    do {                                                                 \
        const cudaError_t error = (call);                                \
        if (error != cudaSuccess) {                                      \
            std::fprintf(stderr, "CUDA: %s\n", cudaGetErrorString(error)); \
            return 2;                                                    \
        }                                                                \
    } while (0)

// 0 where CUDA finds a device that it can use.
extern "C" int can_run() {
    TRY(cudaFree(nullptr));
    return 0;
}

// Positions x [realisation, particle], in and out; g, k0, k1 [realisation]. milliseconds: of the kernel alone. Returns 0;
// 1 for sizes that it was not written for; 2 for an error of CUDA.
extern "C" int langevin_cuda(float *x, float *g, const uint32_t *k0, const uint32_t *k1, int realisations,
                             int particles, int steps, int every, float dt, float v, int heun, float *milliseconds) {
    if (particles > MOST || TOGETHER * particles > 1024 || TOGETHER * particles % WARP || every % 2 || steps % every)
        return 1;  // whole warps add up
    const size_t one = sizeof(float) * realisations;
    float *px, *pg;
    uint32_t *p0, *p1;
    TRY(cudaMalloc(&px, one * particles));
    TRY(cudaMalloc(&pg, one));
    TRY(cudaMalloc(&p0, one));
    TRY(cudaMalloc(&p1, one));
    TRY(cudaMemcpy(px, x, one * particles, cudaMemcpyHostToDevice));
    TRY(cudaMemcpy(p0, k0, one, cudaMemcpyHostToDevice));
    TRY(cudaMemcpy(p1, k1, one, cudaMemcpyHostToDevice));
    cudaEvent_t begin, end;
    TRY(cudaEventCreate(&begin));
    TRY(cudaEventCreate(&end));
    const int blocks = (realisations + TOGETHER - 1) / TOGETHER;
    TRY(cudaEventRecord(begin));
    if (heun)
        langevin<true><<<blocks, TOGETHER * particles>>>(px, pg, p0, p1, realisations, particles, steps, every, dt, v);
    else
        langevin<false><<<blocks, TOGETHER * particles>>>(px, pg, p0, p1, realisations, particles, steps, every, dt, v);
    TRY(cudaGetLastError());
    TRY(cudaEventRecord(end));
    TRY(cudaEventSynchronize(end));
    TRY(cudaEventElapsedTime(milliseconds, begin, end));
    TRY(cudaMemcpy(x, px, one * particles, cudaMemcpyDeviceToHost));
    TRY(cudaMemcpy(g, pg, one, cudaMemcpyDeviceToHost));
    for (void *pointer : {static_cast<void *>(px), static_cast<void *>(pg), static_cast<void *>(p0),
                          static_cast<void *>(p1)})
        TRY(cudaFree(pointer));
    TRY(cudaEventDestroy(begin));
    TRY(cudaEventDestroy(end));
    return 0;
}
