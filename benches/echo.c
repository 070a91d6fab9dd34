/* echo RIVAL TAPS LINE LEFT: what spandsp's or Speex's echo canceller leaves of LINE, a file of 16-bit samples in pairs, what
 * the line hears and what comes back, in LEFT; writes the ns of CPU it took to the standard error, for Debian's spandsp writes
 * lines about every sample to the standard output. Without their non-linear processors. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <spandsp.h>
#include <speex/speex_echo.h>

/* What Speex's documentation advises: 20 ms. */
enum { FRAME = 160 };

static double cpu(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * 1e9 + now.tv_nsec;
}

static void spandsp(int taps, const int16_t *out, const int16_t *back, int16_t *left, size_t samples)
{
    echo_can_state_t *state = echo_can_init(taps, ECHO_CAN_USE_ADAPTION);
    for (size_t at = 0; at < samples; at++)
        left[at] = echo_can_update(state, out[at], back[at]);
    echo_can_free(state);
}

static void speex(int taps, const int16_t *out, const int16_t *back, int16_t *left, size_t samples)
{
    int rate = 8000;
    SpeexEchoState *state = speex_echo_state_init(FRAME, taps);
    speex_echo_ctl(state, SPEEX_ECHO_SET_SAMPLING_RATE, &rate);
    for (size_t at = 0; at + FRAME <= samples; at += FRAME)
        speex_echo_cancellation(state, back + at, out + at, left + at);
    speex_echo_state_destroy(state);
}

int main(int count, char **arguments)
{
    static int16_t pairs[1 << 20], out[1 << 19], back[1 << 19], left[1 << 19];
    if (count != 5)
        return 2;
    FILE *line = fopen(arguments[3], "rb"), *result = fopen(arguments[4], "wb");
    if (!line || !result)
        return 1;
    size_t samples = fread(pairs, 4, sizeof pairs / 4, line);
    for (size_t at = 0; at < samples; at++)
        out[at] = pairs[2 * at], back[at] = pairs[2 * at + 1];
    double start = cpu();
    (strcmp(arguments[1], "spandsp") ? speex : spandsp)(atoi(arguments[2]), out, back, left, samples);
    fprintf(stderr, "%.0f\n", cpu() - start);
    fwrite(left, 2, samples, result);
    return fclose(result) ? 1 : 0;
}
