package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/cluster"
	"github.com/gridlatch/gridlatch/gating/door"
)

// noArguments refuses arguments, also where cobra would take them for commands.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := "see: " + cmd.CommandPath() + " --help"
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return usageError{fmt.Errorf("unknown argument %q (%s)", args[0], hint)}
}

// parseWork reads `job NAME…`, `job/NAME…` or `NAME…`.
func parseWork(args []string) ([]cluster.Work, error) {
	const want = "want job NAME, pod NAME, job/NAME or pod/NAME, or another kind in place of job"
	kind, names, hasKind := splitKind(args)
	if len(names) == 0 {
		return nil, usageError{errors.New(want)}
	}
	var all []cluster.Work
	for _, arg := range names {
		word, name, hasSlash := strings.Cut(arg, "/")
		if !hasSlash {
			all = append(all, cluster.Work{Kind: kind, Name: arg})
			continue
		}
		own, ok := cluster.ParseKind(word)
		if !ok || name == "" || hasKind {
			return nil, usageError{fmt.Errorf("%q: %s", arg, want)}
		}
		all = append(all, cluster.Work{Kind: own, Name: name})
	}
	return all, nil
}

// kindsOfWork says what kinds of work there are, for the help of a command.
func kindsOfWork() string {
	kinds := []string{"job", "pod"}
	for _, d := range door.All() {
		kinds = append(kinds, strings.ToLower(d.Kind.Kind))
	}
	last := len(kinds) - 1
	return "KIND is " + strings.Join(kinds[:last/2], ", ") + ",\n" + strings.Join(kinds[last/2:last], ", ") + " or " + kinds[last] + "."
}

// splitKind takes a kind off the beginning of arguments, if there is one.
func splitKind(args []string) (kind cluster.Kind, rest []string, hasKind bool) {
	if len(args) > 0 {
		if kind, hasKind = cluster.ParseKind(args[0]); hasKind {
			args = args[1:]
		}
	}
	return kind, args, hasKind
}

// completeWork offers a shell the names of work in a state, or of Jobs in any state if the state is
// empty: one name, or many.
func completeWork(e env, c *connection, state string, many bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		kind, given, hasKind := splitKind(args)
		if len(given) > 0 && !many {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		found, err := e.connect(*c)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		if hasKind {
			return found.Names(cmd.Context(), kind, state), cobra.ShellCompDirectiveNoFileComp
		}
		kinds := []cluster.Kind{cluster.JobKind}
		if state != "" {
			kinds = append(kinds, cluster.PodKind)
		}
		var offered []string
		for _, kind := range kinds {
			for _, name := range found.Names(cmd.Context(), kind, state) {
				offered = append(offered, cluster.Work{Kind: kind, Name: name}.String())
			}
		}
		return offered, cobra.ShellCompDirectiveNoFileComp
	}
}
