package main

import (
	"reflect"
	"testing"
	"time"

	"github.com/blixard/blixard/vm"
)

func TestHealthFlag(t *testing.T) {
	for text, want := range map[string]vm.Check{
		"vmm":                              {Type: vm.CheckVMM},
		"process":                          {Type: vm.CheckProcess},
		"guest-agent:interval=5s":          {Type: vm.CheckAgent, Interval: 5 * time.Second},
		"guest-agent,interval=5s,name=a":   {Type: vm.CheckAgent, Interval: 5 * time.Second, Name: "a"},
		"console:login:":                   {Type: vm.CheckConsole, Healthy: "login:"},
		"console:a{1,2}b":                  {Type: vm.CheckConsole, Healthy: "a{1,2}b"},
		"console:healthy=a,b,unhealthy=c=": {Type: vm.CheckConsole, Healthy: "a,b", Unhealthy: "c="},
		"console:unhealthy=x,every=1m":     {Type: vm.CheckConsole, Unhealthy: "x", Every: time.Minute},
		"tcp:10.0.0.5:22":                  {Type: vm.CheckTCP, Address: "10.0.0.5:22"},
		"tcp:[fd00::5]:22,role=readiness":  {Type: vm.CheckTCP, Address: "[fd00::5]:22", Role: vm.RoleReadiness},
		"http:http://10.0.0.5/health":      {Type: vm.CheckHTTP, URL: "http://10.0.0.5/health"},
		"http:https://10.0.0.5:8/a?b=c,d,status=204,body=^ok,startPeriod=1m": {Type: vm.CheckHTTP, URL: "https://10.0.0.5:8/a?b=c,d", Status: "204", Body: "^ok", StartPeriod: time.Minute},
		"http:url=http://10.0.0.5/":        {Type: vm.CheckHTTP, URL: "http://10.0.0.5/"},
		"exec:systemctl is-system-running": {Type: vm.CheckExec, Command: []string{"systemctl", "is-system-running"}},
		"exec:test -e /a,b,exit=1":         {Type: vm.CheckExec, Command: []string{"test", "-e", "/a,b"}, Exit: 1},
		"guest-process:nginx,atLeast=2":    {Type: vm.CheckGuestProcess, Process: "nginx", AtLeast: 2},
		"":                                 {},
	} {
		if got, err := checkFlag(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"vmm:soon", "process:qemu", "console:a,helthy=b", "console:helthy=b", "tcp:10.0.0.5:22,interval=soon", "tcp:a,failures=x", "exec:a | b", "exec:command=a 'b'",
		"guest-agent:", "vmm:,", "guest-process:a,atLeast=0", "tcp:a,interval=0s", "http:headers=a", "guest-agent,startup=1m",
	} {
		if got, err := checkFlag(text); err == nil {
			t.Errorf("%q became %+v", text, got)
		}
	}
}
