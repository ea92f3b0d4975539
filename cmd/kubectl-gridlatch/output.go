package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/render"
)

// bindOutput adds -o, for the commands that also print YAML.
func bindOutput(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVarP(output, "output", "o", "", "json or yaml; text if not given")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"json", "yaml"}, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
}

// wantOutput checks the format of the output. Each command knows JSON.
func wantOutput(output string, others ...string) error {
	formats := append([]string{"json"}, others...)
	if output != "" && !slices.Contains(formats, output) {
		return wrong("output", output, fmt.Errorf("want %s, or nothing for text", strings.Join(formats, " or ")))
	}
	return nil
}

// print writes a value in a format that was checked.
func (e env) print(format string, value any) error {
	if format == "json" {
		return e.stdout.JSON(value)
	}
	return e.stdout.YAML(value)
}

func (e env) warn(warnings []string) {
	for _, warning := range warnings {
		e.stderr.Printf("warning: %s\n", warning)
	}
}

// page returns what text is printed on.
func (e env) page() render.Page { return render.Page{Out: e.stdout, Width: e.width} }

// progress returns the progress of what is being done, which only a terminal shows.
func (e env) progress(what string) *render.Progress {
	if !e.isLive {
		return render.NewProgress(nil, what, e.now)
	}
	return render.NewProgress(e.stderr, what, e.now)
}
