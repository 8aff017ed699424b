// The program towline. Everything is in cli/, so that tests can link it.
#include "cli/command_line.h"

int main(int argc, char** argv) { return towline::RunCommandLine(argc, argv); }
