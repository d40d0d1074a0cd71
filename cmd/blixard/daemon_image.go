package main

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/blixard/blixard/host/image"
	"github.com/blixard/blixard/vm"
)

func imageCommand(c *cli) *cobra.Command {
	return group(&cobra.Command{Use: "image", Short: "Build the guest that ships with Blixard"}, imageBuildCommand(c))
}

func imageBuildCommand(c *cli) *cobra.Command {
	var root, initProgram, state, out string
	cmd := &cobra.Command{
		Use: "build", Short: "Build the built-in guest from an installed kernel",
		Long: `Build the built-in guest ("image: builtin") from the newest installed kernel and
the init program beside this one, into the state folder. It needs no daemon.
Nothing is done where the image is up to date.`,
		Example: "  blixard image build\n  blixard image build --kernel-root /tmp/unpacked-kernel",
		Args:    between(0, 0), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			kernel, err := image.FindKernel(root)
			if err != nil {
				return err
			}
			if initProgram == "" {
				if initProgram, err = image.FindInit(); err != nil {
					return err
				}
			}
			if out == "" {
				out = filepath.Join(or(state, defaultState()), "images", vm.Image)
			}
			defer c.waiting("building the built-in guest from %s", kernel.Release)()
			built, err := image.Build(cmd.Context(), image.BuildOptions{
				Kernel: kernel.Path, Modules: kernel.Modules, Init: initProgram, Out: out,
			})
			if err != nil {
				return err
			}
			entry := "entered as a bzImage"
			if built.PVH {
				entry = "entered by PVH"
			}
			return c.printf("built %s from kernel %s, %s\n", out, built.Release, entry)
		},
	}
	f := cmd.Flags()
	f.StringVar(&root, "kernel-root", "/", "the `DIR` that holds boot/vmlinuz-* and lib/modules")
	f.StringVar(&initProgram, "init", "", "the static init `FILE` (default blixard-init beside this program)")
	f.StringVar(&state, "state-dir", "", "the state `DIR` (default $BLIXARD_STATE_DIR, else /var/lib/blixard)")
	f.StringVar(&out, "out", "", "the `DIR` that takes the image (default images/builtin in the state folder)")
	return cmd
}
