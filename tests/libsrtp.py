"""libsrtp.py: SRTP by libsrtp. Reads lines of `SUITE KEY OPERATION PACKET` (key and packet in hex; `protect`, `unprotect`,
`protect_rtcp`, `unprotect_rtcp`), writes the packet that results, or `refused`. One session for each suite and way."""
import sys

from pylibsrtp import Error, Policy, Session

PROFILES = {
    "AES_CM_128_HMAC_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    "AES_CM_128_HMAC_SHA1_32": Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
    "AEAD_AES_128_GCM": Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "AEAD_AES_256_GCM": Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
}
sessions = {}
for line in sys.stdin:
    suite, key, operation, packet = line.split()
    inbound = operation.startswith("un")
    if (suite, inbound) not in sessions:
        way = Policy.SSRC_ANY_INBOUND if inbound else Policy.SSRC_ANY_OUTBOUND
        sessions[suite, inbound] = Session(Policy(key=bytes.fromhex(key), ssrc_type=way, srtp_profile=PROFILES[suite]))
    try:
        result = getattr(sessions[suite, inbound], operation)(bytes.fromhex(packet)).hex()
    except Error:
        result = "refused"
    print(result, flush=True)
