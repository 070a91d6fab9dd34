"""listen.py SOURCE.wav RECORDING.wav: prints how well the recording kept the source, as JSON.

Both may have any rate and any channels; 8 kHz is compared. The recording is shifted to where it matches the source best; what one has and the other has not is left out."""
import json
import sys
import wave

import numpy
from pesq import pesq

RATE = 8000


def samples(path):
    with wave.open(path) as file:
        if file.getsampwidth() != 2:
            sys.exit(f"{path}: not 16 bit")
        sound = numpy.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
        return narrowed(sound.mean(axis=1), file.getframerate())


def narrowed(sound, rate):
    """The same at 8 kHz: its spectrum up to 4 kHz."""
    if rate == RATE:
        return sound.astype("<i2")
    length = len(sound) * RATE // rate
    spectrum = numpy.fft.rfft(sound)[:length // 2 + 1]
    return numpy.clip(numpy.fft.irfft(spectrum, length) * RATE / rate, -32768, 32767).astype("<i2")


def lag(source, recording):
    """How many samples later the sound stands in the recording."""
    size = len(source) + len(recording)
    spectrum = numpy.fft.rfft(recording.astype(float), size) * numpy.conj(numpy.fft.rfft(source.astype(float), size))
    shift = int(numpy.argmax(numpy.fft.irfft(spectrum, size)))
    return shift - size if shift > len(recording) else shift


source, recording = samples(sys.argv[1]), samples(sys.argv[2])
shift = lag(source, recording)
source, recording = source[max(0, -shift):], recording[max(0, shift):]
length = min(len(source), len(recording))
if length < RATE:
    sys.exit(f"only {length / RATE:.2f} s to compare")
score = pesq(RATE, source[:length], recording[:length], "nb")
print(json.dumps({"pesq": round(float(score), 2), "seconds": length / RATE, "lag_ms": shift * 1000 / RATE}))
