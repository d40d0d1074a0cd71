// Package sim runs whole nodes on a fake machine under virtual time, breaks
// what can break by seed, and holds the promises against what it sees.
//
//	seed ──▶ plan    VMs, guests, the steps that people and fate take
//	          │
//	          ▼
//	        stage ──▶ actors ──▶ disk ──▶ persistence.Memory   survives the daemon
//	          │          └─────▶ fake.World                    survives the daemon
//	          ▼
//	        judge   sees every write, launch, kill and answer, and checks the promises
//
// A stage lives in one testing/synctest bubble. The script and each thing that
// goes wrong have dice of their own, so that a seed tells the same story; only
// the order of what happens in the same instant is the scheduler's.
package sim
