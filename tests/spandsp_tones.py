"""spandsp_tones.py KIND: four seconds of what spandsp's modems and faxes say first, 16-bit samples at 8 kHz on the standard
output. KIND is a number of modem_connect_tones.h, or `fax`: a fax machine that answers. A separate program: the library is loaded
here and nowhere else."""
import ctypes
import sys

SAMPLES = 32000

spandsp = ctypes.CDLL("libspandsp.so.2")
spandsp.modem_connect_tones_tx_init.restype = ctypes.c_void_p
spandsp.modem_connect_tones_tx_init.argtypes = [ctypes.c_void_p, ctypes.c_int]
spandsp.fax_init.restype = ctypes.c_void_p
spandsp.fax_init.argtypes = [ctypes.c_void_p, ctypes.c_int]
for name in ("modem_connect_tones_tx", "fax_tx"):
    getattr(spandsp, name).argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]

if sys.argv[1] == "fax":
    state, say = spandsp.fax_init(None, 0), spandsp.fax_tx
else:
    state, say = spandsp.modem_connect_tones_tx_init(None, int(sys.argv[1])), spandsp.modem_connect_tones_tx
sound = (ctypes.c_int16 * SAMPLES)()
for at in range(0, SAMPLES, 160):
    say(state, ctypes.byref(sound, 2 * at), 160)
sys.stdout.buffer.write(bytes(sound))
