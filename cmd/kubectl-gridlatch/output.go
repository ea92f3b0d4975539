package main

import "github.com/spf13/cobra"

// bindOutput adds -o, for the commands that also print YAML.
func bindOutput(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVarP(output, "output", "o", "", "json, yaml, or nothing for text")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"json", "yaml"}, cobra.ShellCompDirectiveNoFileComp)) // it exists
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
