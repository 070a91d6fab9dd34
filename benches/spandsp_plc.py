"""spandsp_plc.py SOURCE.wav PATTERN RECORDING.wav: what spandsp's concealment makes of 20 ms frames of which those marked
`-` in PATTERN are lost. A separate program: the library is loaded here and nowhere else."""
import ctypes
import sys
import wave

FRAME = 160

spandsp = ctypes.CDLL("libspandsp.so.2")
spandsp.plc_init.restype = ctypes.c_void_p
spandsp.plc_init.argtypes = [ctypes.c_void_p]
for name in ("plc_rx", "plc_fillin"):
    getattr(spandsp, name).argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
state = spandsp.plc_init(None)

with wave.open(sys.argv[1]) as file:
    octets = file.readframes(file.getnframes())
heard = bytearray()
for at, fate in enumerate(sys.argv[2]):
    frame = (ctypes.c_int16 * FRAME).from_buffer_copy(octets[at * FRAME * 2:(at + 1) * FRAME * 2])
    (spandsp.plc_fillin if fate == "-" else spandsp.plc_rx)(state, frame, FRAME)
    heard += bytes(frame)
with wave.open(sys.argv[3], "wb") as file:
    file.setparams((1, 2, 8000, 0, "NONE", ""))
    file.writeframes(bytes(heard))
