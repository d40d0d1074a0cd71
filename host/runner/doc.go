// Package runner drives VMs whose VMM is started by a folder of scripts, as
// microvm.nix builds them, for whatever hypervisor that was built.
//
//	FLAKE ─ nix build ─▶ FOLDER/runner ─┐
//	boot.runner ────────────────────────┴─ Check ─▶ FOLDER/booted ─▶ bin/microvm-run    the VM's user, in FOLDER/work
//	                                                              ├▶ bin/tap-up, tap-down   root, in FOLDER
//	                                                              └▶ bin/microvm-shutdown   the VM's user, in FOLDER/work
//
// What such a folder promises, as microvm.nix (2021 to 2026) keeps it:
//
//   - bin/microvm-run makes missing volumes and then becomes the VMM by exec.
//     Volumes and the control socket are named relative to its working folder.
//   - With QEMU, the serial console is standard output, the control socket is a
//     QMP server that takes one client at a time, and a guest's reset ends QEMU.
//   - bin/microvm-shutdown, where there is a control socket, presses the power
//     button and waits for the end; some find the VMM by MAINPID.
//   - bin/tap-up deletes a link of its name, whosever it is, and makes one for
//     a user called microvm. So we look first, and hand the tap over afterwards.
//   - share/microvm/tap-interfaces has the taps' names, one a line.
//
// Three things are put into the VM's folder beside work, where only root
// writes: the build and its record, which runner was booted, and which taps were
// about to be made. They go with the folder.
package runner
