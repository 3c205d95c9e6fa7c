#ifndef IVMQ_SDK_COMMAND_OUTPUT_H_
#define IVMQ_SDK_COMMAND_OUTPUT_H_

#include <ivmq/status.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace google::protobuf {
class Message;
}  // namespace google::protobuf

namespace ivmq::command {

// What the shell gets to see.
inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;
inline constexpr int kMisused = 2;

// Lines on stdout and stderr wait while their reader does not read, until `readable` is readable
// (-1: for ever). From then on what has no room is lost: Interrupt sets it, so that a reader that
// sleeps keeps nobody from ending. Any thread; `readable` outlives all lines.
//
// Where others write too, to a terminal or the same pipe, the room that was there may be gone when
// a line is written: then that waits all the same, until a second signal ends the process.
void StopWaitingForRoomOnce(int readable);

// One line on stdout, at once. When nobody reads any more (`ivmq sub | head`) the process ends,
// quietly and with kDone; when the line cannot be written for another reason, with kFailed.
void PrintLine(std::string_view line);

// One line on stderr, where it does not mix with what a program reads.
void PrintAside(std::string_view line);
// "ivmq: message" on stderr.
void Complain(std::string_view message);
// The same, where a person looks: on a terminal only.
void Note(std::string_view message);
// Complains, and says what to exit with: kMisused where it could never have been done as it was
// asked for (INVALID_ARGUMENT), else kFailed.
[[nodiscard]] int Fail(const Status& status);

// `text` in quotes, as JSON. Bytes that are no UTF-8 become U+FFFD.
std::string JsonString(std::string_view text);
// A text of the command line, cut to what a message has room for, in single quotes.
std::string Shortened(std::string_view text);
// One line: field names as in the .proto, fields with their default value included unless they are
// `optional`, which is absent where it is unknown; 64-bit integers are strings, as everywhere in
// protobuf's JSON.
std::string ToJsonLine(const google::protobuf::Message& message);
// The same where that may fail: of a message of a type that a peer described.
bool ToJson(const google::protobuf::Message& message, std::string* json);

// True if every byte belongs to a printable character of UTF-8 (tab counts, line ends do not).
bool IsPrintableUtf8(std::string_view text);

// "512 B", "64 KiB", "256 MiB": exact where it is short, else with one decimal.
std::string HumanBytes(double bytes);
// "1 message", "2 messages".
std::string CountOf(uint64_t count, std::string_view what);
// What is said of partners (`what`: "publisher") that are left when the daemon has gone.
std::string AloneText(uint64_t count, std::string_view what);
// "12s", "3m 20s", "2h 5m", "4d 3h".
std::string HumanDuration(uint64_t milliseconds);

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_OUTPUT_H_
