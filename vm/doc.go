// Package vm holds the nouns of Blixard and imports nothing but the standard
// library.
//
//	Spec ──what a person wants──▶ Record ◀──what is durable of one VM
//	                               │
//	     Event ──▶ policies.Next ──┤  (pure: row of the lifecycle table)
//	                               ▼
//	                    Phase, Effects, Entry (journal)
//
// Three things are kept apart and never folded into one: the Intent (what
// people asked for), the Phase (where the state machine stands) and the Health
// (what the probes say).
package vm
