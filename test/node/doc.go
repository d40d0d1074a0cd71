// Package node runs a real daemon on a scratch folder, for chaos tests and
// benches: it starts, kills and restarts it by pid, drives it by the generated
// client and by the CLI, and looks for what it left behind.
//
//	Node ──exec──▶ bin/blixard daemon ──▶ VMMs (found by the scratch folder in their command line)
//	  │                 ▲
//	  └──client, CLI────┘ unix socket in the scratch folder
//
// Nothing that a Node didn't start is ever signalled.
package node
