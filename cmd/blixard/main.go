// Command blixard is the daemon that keeps virtual machines alive, and the
// command line that people and scripts use to talk with it.
//
//	main ─▶ rootCommand ─▶ vm … node … events …   one file for each group
//	                          │
//	                          ├─▶ session   Connect over the unix socket
//	                          └─▶ printer   table, wide, json, yaml, name
//
// daemon*.go alone names what runs on the host; all else is a client.
package main

import "os"

func main() { os.Exit(run(os.Args[1:], newTerminal())) }
