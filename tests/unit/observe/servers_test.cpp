// The two small servers, each asked by a real client.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "httplib.h"
#include "nlohmann/json.hpp"
#include "observe/control_socket.h"
#include "observe/http_server.h"

namespace towline {
namespace {

using ::testing::HasSubstr;

class ControlSocketTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/towline-unit-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
    setenv("XDG_RUNTIME_DIR", name, 1);
  }
  void TearDown() override {
    unsetenv("XDG_RUNTIME_DIR");
    std::filesystem::remove_all(directory_);
  }

  ControlSocket::Callbacks Callbacks() {
    return {
        .status =
            [] {
              TaskStatus status;
              status.task = "shop";
              return status;
            },
        .pause =
            [this] {
              ++pauses_;
              return absl::OkStatus();
            },
        .resume =
            [] { return WithHint(absl::FailedPreconditionError("the task is not paused"), "Do."); },
        .set =
            [this](const std::string& name, const std::string& value) {
              set_ = name + "=" + value;
              return absl::OkStatus();
            }};
  }

  std::string directory_;
  std::atomic<int> pauses_{0};
  std::string set_;
};

TEST_F(ControlSocketTest, AnswersStatusPauseAndResume) {
  auto socket = ControlSocket::Listen("shop", Callbacks());
  ASSERT_TRUE(socket.ok()) << socket.status();
  auto status = AskControlSocket("shop", {"status"});
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_EQ(nlohmann::json::parse(*status)["task"], "shop");
  EXPECT_EQ(*AskControlSocket("shop", {"pause"}), R"({"ok":true})");
  EXPECT_EQ(pauses_, 1);
  EXPECT_THAT(*AskControlSocket("shop", {"resume"}), HasSubstr("the task is not paused"));
  EXPECT_EQ(*AskControlSocket("shop", {"set", "copy_rate_max", "20MB"}), R"({"ok":true})");
  EXPECT_EQ(set_, "copy_rate_max=20MB");
  EXPECT_THAT(*AskControlSocket("shop", {"nonsense"}), HasSubstr("expected"));
  EXPECT_THAT(ListControlSockets(), testing::Contains("shop"));
}

TEST_F(ControlSocketTest, IsForItsOwnerOnly) {
  auto socket = ControlSocket::Listen("shop", Callbacks());
  ASSERT_TRUE(socket.ok()) << socket.status();
  struct stat info;
  ASSERT_EQ(stat((*socket)->path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  ASSERT_EQ(stat(ControlSocketDirectory().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
}

TEST_F(ControlSocketTest, SecondListenerIsRefusedAndTheFirstGoesOn) {
  auto first = ControlSocket::Listen("shop", Callbacks());
  auto second = ControlSocket::Listen("shop", Callbacks());
  EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(AskControlSocket("shop", {"status"}).ok());
}

TEST_F(ControlSocketTest, SocketOfAKilledProcessIsReplacedAndNotListed) {
  mkdir(ControlSocketDirectory().c_str(), 0700);
  int dead = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::string path = ControlSocketPath("shop");
  path.copy(address.sun_path, path.size());
  ASSERT_EQ(bind(dead, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  close(dead);
  EXPECT_THAT(ListControlSockets(), testing::Not(testing::Contains("shop")));
  EXPECT_EQ(AskControlSocket("shop", {"status"}).status().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(ControlSocket::Listen("shop", Callbacks()).ok());
}

TEST_F(ControlSocketTest, DirectoryOpenToOthersIsRefused) {
  mkdir(ControlSocketDirectory().c_str(), 0755);
  chmod(ControlSocketDirectory().c_str(), 0755);
  auto socket = ControlSocket::Listen("shop", Callbacks());
  EXPECT_THAT(std::string(socket.status().message()), HasSubstr("not ours alone"));
}

TEST_F(ControlSocketTest, SilentClientDoesNotBlockOthers) {
  auto socket_or = ControlSocket::Listen("shop", Callbacks());
  ASSERT_TRUE(socket_or.ok());
  int silent = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  (*socket_or)->path().copy(address.sun_path, (*socket_or)->path().size());
  ASSERT_EQ(connect(silent, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  EXPECT_TRUE(AskControlSocket("shop", {"status"}).ok());
  close(silent);
}

TEST_F(ControlSocketTest, PathTooLongForASocketIsSaid) {
  auto socket = ControlSocket::Listen(std::string(120, 'x'), Callbacks());
  EXPECT_EQ(socket.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(HttpServerTest, ServesMetricsHealthAndStatus) {
  StatusBoard board;
  board.Update([](TaskStatus& status) { status.state = "streaming"; });
  StreamMeter meter;
  Metrics metrics(board, meter);
  auto server = HttpServer::Start(0, board, metrics);
  ASSERT_TRUE(server.ok()) << server.status();
  httplib::Client client("127.0.0.1", (*server)->port());
  EXPECT_THAT(client.Get("/metrics")->body, HasSubstr("towline_state"));
  EXPECT_EQ(client.Get("/healthz")->status, 200);
  EXPECT_EQ(nlohmann::json::parse(client.Get("/status")->body)["state"], "streaming");

  board.Update([](TaskStatus& status) {
    status.state = "retrying";
    status.waiting_for = "no route";
    status.retry_in = absl::Seconds(4);
  });
  auto answer = client.Get("/healthz");
  EXPECT_EQ(answer->status, 503);
  EXPECT_EQ(answer->body, "retrying: no route (next try in 4s)\n");
}

TEST(HttpServerTest, PortInUseIsRefusedWithAHint) {
  StatusBoard board;
  StreamMeter meter;
  Metrics metrics(board, meter);
  auto first = HttpServer::Start(0, board, metrics);
  ASSERT_TRUE(first.ok());
  auto second = HttpServer::Start((*first)->port(), board, metrics);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(GetHint(second.status()), HasSubstr("--metrics-port"));
}

}  // namespace
}  // namespace towline
