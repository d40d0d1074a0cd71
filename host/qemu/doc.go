// Package qemu is the native VMM: what to launch, the control session (QMP),
// the guest agent's wire, and the probe that decides between KVM and TCG.
//
//	vm.Spec ─▶ Command ─▶ Args (pure, goldens in testdata) ─▶ host.Launcher
//	                                                              │ sockets, inherited listening
//	run-<n> ─▶ Attach ──── qmp.sock ─────▶ QEMU                   ▼
//	        ─▶ Agent.Open ─ agent.sock ──▶ QEMU ─ virtio-serial ─▶ guest agent
//
// No path is polled anywhere: the launcher makes the sockets before it starts
// QEMU, so a connection stands at once and its first bytes come when the other
// side is up. Both wires are read with bounds, for what sits behind them is the
// guest's (P15).
package qemu
