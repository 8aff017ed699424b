#include "cli/command_line.h"

int main(int argc, char** argv) { return towline::RunCommandLine(argc, argv); }
