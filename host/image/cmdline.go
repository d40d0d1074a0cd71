package image

import "strings"

// cmdline is the lean command line of the built-in guest. Under TCG each word
// that keeps the kernel from probing or waiting pays in the boot time; what they
// gain was measured with Debian's cloud kernel on the microvm machine.
//
// Left to the VMM's driver, because it depends on the host: tsc_early_khz.
var cmdline = strings.Join([]string{
	"console=ttyS0",
	"quiet",
	"loglevel=1", // one, not zero: at zero the kernel stays silent even when it panics
	"8250.nr_uarts=1",
	"tsc=reliable", "no_timer_check", "lpj=5000000", // no calibration
	"random.trust_cpu=on",
	"reboot=t", "panic=-1", // a panic resets at once, by triple fault, which the VMM sees as a reset
	"mitigations=off", "nokaslr", "noreplace-smp",
	"audit=0", "apparmor=0", "cryptomgr.notests",
	"initcall_blacklist=" + strings.Join(needless, ","),
}, " ")

// needless are initcalls of the stock kernel that the guest has no use for.
var needless = []string{
	"init_kprobe_trace", "cubictcp_register", "load_system_certificate_list",
	"slab_sysfs_init", "crypto_kdf108_init", "hpet_init",
}
