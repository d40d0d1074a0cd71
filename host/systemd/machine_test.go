package systemd

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/blixard/blixard/test/node"
)

// units are the stories that need a systemd of their own.
var units = map[string]func(t *testing.T){
	"TellsItsPeakOfMemory":              unitTellsItsPeakOfMemory,
	"IsStarvedByTheKernelsLog":          unitIsStarvedByTheKernelsLog,
	"ThatEndsLikeItsShimHasBegun":       unitThatEndsLikeItsShimHasBegun,
	"OfAnotherShimSaysSo":               unitOfAnotherShimSaysSo,
	"ChangesAreTold":                    unitChangesAreTold,
	"SeesOddNames":                      unitSeesOddNames,
	"OrphansAreAdopted":                 unitOrphansAreAdopted,
	"VerdictWaitsForADaemonThatWasDown": unitVerdictWaitsForADaemonThatWasDown,
	"OfAStrangerIsLeftAlone":            unitOfAStrangerIsLeftAlone,
	"OfADeadVMOfTheSameNameIsFreed":     unitOfADeadVMOfTheSameNameIsFreed,
	"LivesThroughALostBus":              unitLivesThroughALostBus,
	"OutageIsTransient":                 unitOutageIsTransient,
	"sThatEndedLongAgoAreFreed":         unitsThatEndedLongAgoAreFreed,
	"IsConfined":                        unitIsConfined,
	"SeesNothingButItsOwn":              unitSeesNothingButItsOwn,
	"SeesOfAHomeWhatItNames":            unitSeesOfAHomeWhatItNames,
	"RunsARealVMM":                      unitRunsARealVMM,
	"WithoutJIT":                        unitWithoutJIT,
	"InheritsATap":                      unitInheritsATap,
	"IsOrderedBehindNothing":            unitIsOrderedBehindNothing,
	"LaunchesAVMMAsItsOwnUser":          unitLaunchesAVMMAsItsOwnUser,
	"ThatEndsAtOnceIsALaunchWithAnEnd":  unitThatEndsAtOnceIsALaunchWithAnEnd,
	"NeverTwoForOneVM":                  unitNeverTwoForOneVM,
	"sKeepTheContract":                  unitsKeepTheContract,
	"FiftyVMs":                          unitFiftyVMs,
}

// TestInAMachine runs them on a machine that it makes: there it runs itself again.
func TestInAMachine(t *testing.T) {
	if os.Getenv(inside) != "" {
		for _, name := range slices.Sorted(maps.Keys(units)) {
			t.Run(name, units[name])
		}
		return
	}
	if testing.Short() {
		t.Skip("boots a machine")
	}
	m, err := node.NewMachine()
	if errors.Is(err, node.ErrNoMachine) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	shim, tests := filepath.Join(m.Root, "blixard-vmm"), filepath.Join(m.Root, "tests")
	build := exec.Command("go", "build", "-o", shim, "github.com/blixard/blixard/cmd/blixard-vmm")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the shim: %v\n%s", err, out)
	}
	if err := copySelf(tests); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	if err := m.Boot(ctx); err != nil {
		t.Fatal(err)
	}
	installed := "/usr/local/bin/blixard-vmm" // the scratch folder is below /tmp, which units don't see
	if _, err := m.Run(ctx, "cp", shim, installed); err != nil {
		t.Fatal(err)
	}
	args := []string{"env", inside + "=" + installed, tests, "-test.v", "-test.run", "^TestInAMachine$/" + os.Getenv("BX_ONLY"), "-test.timeout", "200s"}
	out, err := m.Run(ctx, args...)
	if err != nil {
		t.Fatalf("%v\n%s", err, m.Journal(context.WithoutCancel(ctx), "blixard-*"))
	}
	t.Log(out)
}

func copySelf(to string) error {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer self.Close()
	file, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, self)
	return errors.Join(err, file.Close())
}
