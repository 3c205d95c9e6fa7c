#ifndef IVMQ_TESTS_COMMAND_RUN_COMMAND_H_
#define IVMQ_TESTS_COMMAND_RUN_COMMAND_H_

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace ivmq::command {

struct Finished {
  int exit_code = -1;  // 128 + signal if it was killed
  std::string out;
  std::string err;

  std::vector<std::string> Lines() const;
};

// Runs the build's `ivmq` with these arguments to its end. Without the environment's sockets.
Finished RunIvmq(const std::vector<std::string>& arguments, const std::string& input = "");
// Runs a bash script with the build's `ivmq` in its path.
Finished RunScript(const std::string& script);
// Path of the build's `ivmq`.
std::string IvmqPath();
// Whether the process is gone, or nobody has asked yet how it died.
bool HasEnded(const std::string& pid);

// One line of JSON as a T; the test fails where it is none.
template <class T>
T ParseJson(const std::string& line) {
  T message;
  const auto status = google::protobuf::util::JsonStringToMessage(line, &message);
  EXPECT_TRUE(status.ok()) << status.ToString() << "\n" << line;
  return message;
}
inline std::string FieldOf(const google::protobuf::Struct& object, const std::string& field) {
  const auto found = object.fields().find(field);
  if (found == object.fields().end()) return "(no field " + field + ")";
  if (found->second.has_number_value()) return std::to_string(found->second.number_value());
  return found->second.string_value();
}

}  // namespace ivmq::command

#endif  // IVMQ_TESTS_COMMAND_RUN_COMMAND_H_
