package messages

import (
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

func checkToProto(c vm.Check) *blixardv1.Check {
	out := &blixardv1.Check{
		Name: Text(c.Name), Type: string(c.Type), Role: string(c.Role),
		Interval: durationpb.New(c.Interval), Timeout: durationpb.New(c.Timeout),
		Failures: int32(c.Failures), Successes: int32(c.Successes),
		Healthy: Text(c.Healthy), Unhealthy: Text(c.Unhealthy), Send: Text(c.Send), Address: Text(c.Address), Url: Text(c.URL),
		Status: c.Status, Body: Text(c.Body), Command: texts(c.Command), Exit: int32(c.Exit),
		Process: Text(c.Process), AtLeast: int32(c.AtLeast),
	}
	if c.StartPeriod != 0 {
		out.StartPeriod = durationpb.New(c.StartPeriod)
	}
	if c.Every != 0 {
		out.Every = durationpb.New(c.Every)
	}
	for _, h := range c.Headers {
		out.Headers = append(out.Headers, &blixardv1.Header{Name: Text(h.Name), Value: Text(h.Value)})
	}
	return out
}

func (d *durations) check(field string, p *blixardv1.Check) vm.Check {
	c := vm.Check{
		Name: p.GetName(), Type: vm.CheckType(p.GetType()), Role: vm.Role(p.GetRole()),
		Interval: d.read(field+"interval", p.GetInterval()), Timeout: d.read(field+"timeout", p.GetTimeout()),
		Failures: int(p.GetFailures()), Successes: int(p.GetSuccesses()),
		StartPeriod: d.read(field+"startPeriod", p.GetStartPeriod()), Every: d.read(field+"every", p.GetEvery()),
		Healthy: p.GetHealthy(), Unhealthy: p.GetUnhealthy(), Send: p.GetSend(), Address: p.GetAddress(), URL: p.GetUrl(),
		Status: p.GetStatus(), Body: p.GetBody(), Command: p.GetCommand(), Exit: int(p.GetExit()),
		Process: p.GetProcess(), AtLeast: int(p.GetAtLeast()),
	}
	for _, h := range p.GetHeaders() {
		c.Headers = append(c.Headers, vm.Header{Name: h.GetName(), Value: h.GetValue()})
	}
	return c
}

func rungsToProto(all []vm.Rung) []*blixardv1.Rung {
	var out []*blixardv1.Rung
	for _, r := range all {
		out = append(out, &blixardv1.Rung{Do: string(r.Do), Times: int32(r.Times), For: texts(r.For)})
	}
	return out
}

func rungs(all []*blixardv1.Rung) []vm.Rung {
	var out []vm.Rung
	for _, r := range all {
		out = append(out, vm.Rung{Do: vm.Remedy(r.GetDo()), Times: int(r.GetTimes()), For: causes(r.GetFor())})
	}
	return out
}

func dumpToProto(d vm.Dump) *blixardv1.Dump {
	switch {
	case len(d.On) > 0 || d.Format != "" || d.Timeout != 0:
		return &blixardv1.Dump{On: texts(d.On), Format: string(d.Format), Timeout: durationpb.New(d.Timeout), Core: d.Core}
	case d.Core:
		return &blixardv1.Dump{Core: true}
	}
	return nil
}

func (d *durations) dump(p *blixardv1.Dump) vm.Dump {
	return vm.Dump{On: causes(p.GetOn()), Format: vm.DumpFormat(p.GetFormat()), Timeout: d.read("dump.timeout", p.GetTimeout()), Core: p.GetCore()}
}

func seedToProto(s vm.Seed) *blixardv1.Seed {
	if s.Hostname == "" && len(s.SSHKeys) == 0 && s.UserData == "" && s.Network == "" {
		return nil
	}
	return &blixardv1.Seed{Hostname: Text(s.Hostname), SshKeys: texts(s.SSHKeys), UserData: Text(s.UserData), Network: Text(s.Network)}
}

func seed(p *blixardv1.Seed) vm.Seed {
	return vm.Seed{Hostname: p.GetHostname(), SSHKeys: p.GetSshKeys(), UserData: p.GetUserData(), Network: p.GetNetwork()}
}

func causes(all []string) []vm.Cause {
	var out []vm.Cause
	for _, c := range all {
		out = append(out, vm.Cause(c))
	}
	return out
}

func texts[T ~string](all []T) []string {
	var out []string
	for _, s := range all {
		out = append(out, Text(string(s)))
	}
	return out
}
