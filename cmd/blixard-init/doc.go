// Command blixard-init is PID 1 of the built-in guest. It speaks the QEMU
// guest-agent protocol on the virtio-serial port org.qemu.guest_agent.0, beats
// on the console, and dies in every way that a test may ask for.
//
//	boot: /proc /sys /dev ─▶ modules of the agent ─▶ agent port ─▶ ready mark ─▶ other modules
//	then: agent loop │ beats │ faults, each in a goroutine; none waits for another
//
// On the console, each on a line of its own:
//
//	blixard: ready                the agent's port is open
//	blixard: beat 3 up 30s        every beat
//	blixard: WORDS                what it is about to do, such as "blixard: fault panic"
//
// # Words of the kernel command line
//
//	blixard.beat=10s              time between beats; 0 for none
//	blixard.fault=KIND[@DELAY],…  faults, each DELAY after the ready mark (default: at once)
//
//	blixard.service               a child named sleep runs, for checks that count one
//
// Whatever runs in the guest may ask for a fault too: `fault KIND`. It is asked
// for once, so the next boot is sound.
//
// The kinds:
//
//	panic          the kernel panics, and resets by panic=-1; not before all modules are loaded, so that pvpanic tells
//	exit           PID 1 exits, which panics the kernel too
//	poweroff       an orderly power-off
//	halt           the kernel halts; the VMM lives on
//	reboot         an orderly reboot
//	hang           init answers nothing and beats no more; the kernel lives
//	lockup         every vCPU is burnt at real-time priority: nothing else runs
//	oom            memory is filled until the kernel gives up
//	crash-loop     the kernel panics before the agent's port is opened (DELAY counts from the start)
//	silent         nothing is written to the console; the agent answers
//	dead-agent     the agent reads on and answers nothing; the console beats
//	dead-service   the service is killed
//	lying-agent    the agent answers with wrong ids and torn JSON
//	late-agent     the agent answers rightly, each time six seconds late
//	garbage-agent  the agent answers rightly, in the midst of bytes that are no text
//	huge-agent     the agent answers with one whole object of 16 MiB
//	stubborn       the agent answers, and ignores guest-shutdown
//	flood-console  endless lines on the console
//	flood-agent    endless bytes without a line's end on the agent's port
//	escapes        terminal escape sequences on the console and in the agent's texts
//
// Run under another name, or with an argument, it is one of a few commands
// (echo, cat, sleep, bomb, …), so that guest-exec has something to run.
package main
