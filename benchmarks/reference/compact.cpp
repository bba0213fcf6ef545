// The floor of the compact ion model's loop: the same exponential scheme as mcdev/devices/omiec_compact.py in float64.
//
// Lanes run over devices; a block of them stays in registers for all steps of an interval. Every loop over a block is one
// that the compiler turns into vector instructions, with its vector library's exponential and logarithm.
#include <cmath>

namespace {

constexpr int BLOCK = 32;

// (e^z - 1)/z, by its series where the difference would lose digits.
inline double phi(double z) {
    double series = 1.0;
    for (int n = 10; n > 1; --n) series = 1.0 + series * z / n;
    const double safe = std::fabs(z) < 0.3 ? 1.0 : z;
    const double direct = (std::exp(safe) - 1.0) / safe;
    return std::fabs(z) < 0.3 ? series : direct;
}

}  // namespace

extern "C" void compact(double *q_, double *m_, const double *rate, const double *alpha, const double *hopping,
                        const double *fast, int devices, int steps, int every, double step, double voltage, double cap) {
    for (int first = 0; first < devices; first += BLOCK) {
        const int count = devices - first < BLOCK ? devices - first : BLOCK;
        double q[BLOCK], m[BLOCK], r[BLOCK], a[BLOCK], v0[BLOCK], f[BLOCK], per[BLOCK];
        for (int i = 0; i < BLOCK; ++i) {
            const int from = first + (i < count ? i : 0);
            q[i] = q_[from], m[i] = m_[from], r[i] = rate[from], a[i] = alpha[from], v0[i] = hopping[from];
            f[i] = fast[from], per[i] = 1.0 / hopping[from];
        }
        for (int done = 0; done < steps; done += every) {
            for (int s = 0; s < every; ++s)
#pragma GCC ivdep
                for (int i = 0; i < BLOCK; ++i) {
                    const double size = std::fabs(q[i]), whole = 1.0 + size;
                    const double power = std::exp(a[i] * std::log(whole));
                    const double drive = (voltage - q[i] * power) * per[i];
                    const double capped = drive > cap ? cap : drive < -cap ? -cap : drive;
                    const double up = std::exp(capped), down = 1.0 / up;
                    const double slope = power * (1.0 + a[i] * size / whole);
                    const double z = capped == drive ? -0.5 * step * r[i] * (up + down) * slope : 0.0;
                    q[i] += step * 0.5 * r[i] * v0[i] * (up - down) * phi(z);
                }
            for (int i = 0; i < BLOCK; ++i) m[i] -= (voltage - m[i]) * (std::exp(-f[i] * step * every) - 1.0);
        }
        for (int i = 0; i < count; ++i) q_[first + i] = q[i], m_[first + i] = m[i];
    }
}
