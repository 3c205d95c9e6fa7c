#ifndef IVMQ_TESTS_COMMAND_DESCRIPTOR_FILES_H_
#define IVMQ_TESTS_COMMAND_DESCRIPTOR_FILES_H_

#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/text_format.h>

#include <string>

namespace ivmq::command {

// As `protoc -o` would write it for a file that is nowhere else:
//
//   package acme;
//   message Load { double busy = 1; string host = 2; google.protobuf.Timestamp at = 3; }
//   message Settings { int64 id = 1; Load load = 2; }
//
// without google/protobuf/timestamp.proto, which protobuf has itself. Settings is in a file of its
// own, which stands first although it needs the other.
inline std::string AcmeDescriptors() {
  google::protobuf::FileDescriptorSet set;
  google::protobuf::TextFormat::ParseFromString(R"(
    file {
      name: "settings.proto" package: "acme" syntax: "proto3" dependency: "load.proto"
      message_type {
        name: "Settings"
        field { name: "id" number: 1 label: LABEL_OPTIONAL type: TYPE_INT64 }
        field {
          name: "load" number: 2 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".acme.Load"
        }
      }
    }
    file {
      name: "load.proto" package: "acme" syntax: "proto3"
      dependency: "google/protobuf/timestamp.proto"
      message_type {
        name: "Load"
        field { name: "busy" number: 1 label: LABEL_OPTIONAL type: TYPE_DOUBLE }
        field { name: "host" number: 2 label: LABEL_OPTIONAL type: TYPE_STRING }
        field {
          name: "at" number: 3 label: LABEL_OPTIONAL type: TYPE_MESSAGE
          type_name: ".google.protobuf.Timestamp"
        }
      }
    })",
                                                &set);
  return set.SerializeAsString();
}

}  // namespace ivmq::command

#endif  // IVMQ_TESTS_COMMAND_DESCRIPTOR_FILES_H_
