// Package arch holds the house rules that a compiler doesn't: who may import
// whom, where a library lives, which calls are banned, how long things get and
// what they are called. Each rule is a table; each table is proved able to fail
// by small sources beside it.
//
//	vm ◀── messages policies persistence host ◀── actors ◀── cmd test
//	        (host's adapters: named by cmd/blixard/daemon*.go alone)
package arch
