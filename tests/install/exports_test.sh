#!/bin/bash
# exports_test.sh LIBRARY: fails if libivmq.so exports anything that is not ivmq's, so that it never gets
# into the way of an application's own protobuf, or of anything else.
set -euo pipefail
# Type information and guards of our own exported names carry the same namespace.
foreign=$(nm -D --defined-only --demangle "$1" | cut -d' ' -f3- |
  grep -vE '^((typeinfo|typeinfo name|vtable|guard variable|VTT) for )?ivmq::' |
  grep -vE '^(_init|_fini|_edata|_end|__bss_start)$' | grep -vE '^__(asan|tsan|ubsan|sanitizer|odr)' || true)
if [[ -n $foreign ]]; then
  echo "exported, but not in namespace ivmq:"
  echo "$foreign" | head -20
  exit 1
fi
internal=$(nm -D --defined-only --demangle "$1" | grep -E 'ivmq::(v1|transport|ringbuf)::' || true)
if [[ -n $internal ]]; then
  echo "exported, but internal:"
  echo "$internal" | head -20
  exit 1
fi
exported=$(nm -D --defined-only --demangle "$1" | grep -c 'ivmq::' || true)
((exported > 20)) || { echo "only $exported names are exported"; exit 1; }
