package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

// bindOutput adds -o, for the commands that also print YAML.
func bindOutput(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVarP(output, "output", "o", "", "json, yaml, or nothing for text")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"json", "yaml"}, cobra.ShellCompDirectiveNoFileComp)) // it exists
}

// print writes a value in a format that was checked.
func (e env) print(format string, value any) error {
	if format == "json" {
		return writeJSON(e.stdout, value)
	}
	data, err := yaml.Marshal(value)
	if err != nil {
		return fmt.Errorf("write YAML: %w", err)
	}
	_, err = e.stdout.Write(data)
	return err
}

func (e env) warn(warnings []string) {
	for _, warning := range warnings {
		fmt.Fprintln(e.stderr, "warning:", warning)
	}
}
