#!/usr/bin/python3
"""Writes events.json: an event file as Google's Python library and this script write it, for the tests of EventFile.cs.

    apt-get install -y --no-install-recommends python3-protobuf
    /usr/bin/python3 make_events.py

Field numbers: event.proto, summary.proto and histogram.proto in tensorboard/compat/proto of TensorBoard. Records: TFRecord, in the
documentation of TensorFlow. Checksums: CRC-32C, checked against RFC 3720, appendix B.4. The output is committed.
"""
import json
import pathlib
import struct

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

FIELD = descriptor_pb2.FieldDescriptorProto
TYPES = {"double": FIELD.TYPE_DOUBLE, "float": FIELD.TYPE_FLOAT, "int64": FIELD.TYPE_INT64, "string": FIELD.TYPE_STRING, "status": FIELD.TYPE_INT32}
# Message: name of the oneof, and its fields as (number, name, type, in the oneof, repeated). An enum is an int32 on the wire.
MESSAGES = {
    "Event": ("what", [(1, "wall_time", "double", 0, 0), (2, "step", "int64", 0, 0), (3, "file_version", "string", 1, 0), (5, "summary", "Summary", 1, 0), (7, "session_log", "SessionLog", 1, 0)]),
    "SessionLog": (None, [(1, "status", "status", 0, 0)]),
    "Summary": (None, [(1, "value", "Value", 0, 1)]),
    "Value": ("kind", [(1, "tag", "string", 0, 0), (2, "simple_value", "float", 1, 0), (5, "histo", "HistogramProto", 1, 0)]),
    "HistogramProto": (None, [(i + 1, name, "double", 0, 0) for i, name in enumerate(["min", "max", "num", "sum", "sum_squares"])]
                       + [(6, "bucket_limit", "double", 0, 1), (7, "bucket", "double", 0, 1)]),
}


def messages():
    file = descriptor_pb2.FileDescriptorProto(name="events.proto", package="known", syntax="proto3")
    for name, (oneof, fields) in MESSAGES.items():
        message = file.message_type.add(name=name)
        if oneof:
            message.oneof_decl.add(name=oneof)
        for number, field_name, kind, in_oneof, repeated in fields:
            field = message.field.add(name=field_name, number=number, label=FIELD.LABEL_REPEATED if repeated else FIELD.LABEL_OPTIONAL)
            field.type = TYPES.get(kind, FIELD.TYPE_MESSAGE)
            if field.type == FIELD.TYPE_MESSAGE:
                field.type_name = f".known.{kind}"
            if in_oneof:
                field.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    factory = message_factory.MessageFactory(pool)
    return {name: factory.GetPrototype(pool.FindMessageTypeByName(f"known.{name}")) for name in MESSAGES}


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


assert crc32c(bytes(32)) == 0x8A9136AA and crc32c(b"\xff" * 32) == 0x62A8AB43 and crc32c(bytes(range(32))) == 0x46DD794E


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def record(data):
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked(length)) + data + struct.pack("<I", masked(data))


def main():
    m = messages()
    time = 1234567890.25
    events = [m["Event"](wall_time=time, file_version="brain.Event:2"), m["Event"](wall_time=time, step=300, session_log=m["SessionLog"](status=1))]
    scalars = {"train/loss": 2.5, "weight_angle/conv1": 0.0, "test/top1": 0.1}
    events.append(m["Event"](wall_time=time, step=300, summary=m["Summary"](value=[m["Value"](tag=tag, simple_value=value) for tag, value in scalars.items()])))
    histogram = m["HistogramProto"](min=-1.5, max=2, num=4, sum=1.5, sum_squares=7.25, bucket_limit=[-1, 0, 1, 2.5], bucket=[1, 0, 2, 1])
    events.append(m["Event"](wall_time=time, step=2 ** 31 + 5, summary=m["Summary"](value=[m["Value"](tag="weights/fc", histo=histogram)])))
    answer = {"firstStep": 300, "time": time, "file": b"".join(record(e.SerializeToString(deterministic=True)) for e in events).hex()}
    (pathlib.Path(__file__).parent / "events.json").write_text(json.dumps(answer, indent=1) + "\n")


if __name__ == "__main__":
    main()
