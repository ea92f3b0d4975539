package main

import (
	"github.com/spf13/cobra"

	"github.com/gridlatch/gridlatch/cmd/internal/version"
)

func newVersion(e env) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show the version of this plugin",
		Long: `Show the version of this plugin, the commit and the version of Go that the plugin was
built from, and the platform that the plugin was built for.

The controller in the cluster has a version of its own:
  kubectl -n gridlatch-system exec deploy/gridlatch -- /gridlatch --version`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			if err := wantOutput(output, "yaml"); err != nil {
				return err
			}
			if output != "" {
				return e.print(output, version.Get())
			}
			e.stdout.Printf("kubectl gridlatch %s\n", version.Get())
			return nil
		},
	}
	bindOutput(cmd, &output)
	return cmd
}
