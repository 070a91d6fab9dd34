/* libsrtp: what SRTP costs there. Reads lines of `SUITE BATCHES`; writes ns of CPU for each of the batch's packets to
 * protect and to unprotect, or `refused`. Packets as in srtp.rs: 160 octets behind a header of 12. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <srtp2/srtp.h>

enum { BATCH = 250, PLAIN = 172, ROOM = PLAIN + SRTP_MAX_TRAILER_LEN };

static const struct {
    const char *name;
    void (*set)(srtp_crypto_policy_t *);
} suites[] = {
    {"AES_CM_128_HMAC_SHA1_80", srtp_crypto_policy_set_rtp_default},
    {"AES_CM_128_HMAC_SHA1_32", srtp_crypto_policy_set_aes_cm_128_hmac_sha1_32},
    {"AES_256_CM_HMAC_SHA1_80", srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80},
    {"AES_256_CM_HMAC_SHA1_32", srtp_crypto_policy_set_aes_cm_256_hmac_sha1_32},
    {"AEAD_AES_128_GCM", srtp_crypto_policy_set_aes_gcm_128_16_auth},
    {"AEAD_AES_256_GCM", srtp_crypto_policy_set_aes_gcm_256_16_auth},
};

static unsigned char packets[BATCH][(ROOM + 7) / 8 * 8] __attribute__((aligned(8)));
static int lengths[BATCH];

static double cpu(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * 1e9 + now.tv_nsec;
}

static srtp_t session(int suite, srtp_ssrc_type_t way)
{
    static unsigned char key[46];
    srtp_policy_t policy;
    srtp_t made;
    memset(&policy, 0, sizeof policy);
    suites[suite].set(&policy.rtp);
    suites[suite].set(&policy.rtcp);
    policy.ssrc.type = way;
    policy.key = key;
    policy.window_size = 128;
    return srtp_create(&made, &policy) == srtp_err_status_ok ? made : NULL;
}

/* Times one function over the batch; its cost is added to `spent`. */
static int each(srtp_err_status_t (*work)(srtp_t, void *, int *), srtp_t with, double *spent)
{
    double start = cpu();
    for (int n = 0; n < BATCH; n++)
        if (work(with, packets[n], &lengths[n]) != srtp_err_status_ok)
            return 0;
    *spent += cpu() - start;
    return 1;
}

static int measure(int suite, int batches, double spent[2])
{
    srtp_t out = session(suite, ssrc_any_outbound), in = session(suite, ssrc_any_inbound);
    int good = out && in;
    unsigned sequence = 0;
    for (int batch = 0; good && batch < batches; batch++) {
        for (int n = 0; n < BATCH; n++, sequence++) {
            const unsigned char header[12] = {0x80, 0, sequence >> 8 & 255, sequence & 255, 0, 0, 0, 0, 0, 0, 0, 9};
            memcpy(packets[n], header, sizeof header);
            memset(packets[n] + sizeof header, sequence & 255, PLAIN - sizeof header);
            lengths[n] = PLAIN;
        }
        good = each(srtp_protect, out, &spent[0]) && each(srtp_unprotect, in, &spent[1]);
    }
    if (out)
        srtp_dealloc(out);
    if (in)
        srtp_dealloc(in);
    return good;
}

int main(void)
{
    char name[64];
    int batches;
    if (srtp_init() != srtp_err_status_ok)
        return 1;
    while (scanf("%63s %d", name, &batches) == 2) {
        double spent[2] = {0, 0};
        int good = 0;
        for (size_t suite = 0; suite < sizeof suites / sizeof *suites; suite++)
            if (strcmp(suites[suite].name, name) == 0)
                good = measure(suite, batches, spent);
        if (good)
            printf("%f %f\n", spent[0] / BATCH / batches, spent[1] / BATCH / batches);
        else
            puts("refused");
        fflush(stdout);
    }
    return 0;
}
