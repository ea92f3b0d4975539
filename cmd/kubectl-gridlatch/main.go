// Command kubectl-gridlatch is what users of Gridlatch run: as the plugin `kubectl gridlatch`, or alone. It shows when
// work would start by a forecast, and what waiting would have saved on a real grid; neither needs a cluster.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
	_ "time/tzdata" // deadlines name zones, and not every machine knows them

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, onThisMachine(), os.Args[1:])
	stop()
	os.Exit(code)
}

// env is all that the commands know of the world.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	now            func() time.Time
	// cluster finds the API server; an empty kubeconfig is the usual one, an empty context its current one.
	cluster func(kubeconfig, context string) (*rest.Config, error)
	// width of the terminal, in columns.
	width int
	// color says that stdout understands colours, live that stderr is a terminal that is being looked at.
	color, live bool
}

func onThisMachine() env {
	width, _, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil || width <= 0 {
		width = 80
	}
	return env{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		now: time.Now, cluster: findCluster, width: width,
		color: term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb",
		live:  term.IsTerminal(int(os.Stderr.Fd())) && os.Getenv("TERM") != "dumb",
	}
}

func findCluster(kubeconfig, context string) (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	overrides := &clientcmd.ConfigOverrides{CurrentContext: context}
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides).ClientConfig()
}

// usageError is a mistake on the command line.
type usageError struct{ error }

// Unwrap returns the mistake itself.
func (e usageError) Unwrap() error { return e.error }

// wrong is a mistake in a flag: its name, its value, and what is allowed.
func wrong(flag, value string, err error) error {
	return usageError{fmt.Errorf("--%s %q: %w", flag, value, err)}
}

// run returns the exit code: 0 if all went well, 1 if not, 2 if it was called wrongly.
func run(ctx context.Context, e env, args []string) int {
	root := newRoot(e)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var mistake usageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(e.stderr, "interrupted")
		return 1
	case errors.As(err, &mistake):
		fmt.Fprintf(e.stderr, "gridlatch: %v\n", err)
		return 2
	default:
		fmt.Fprintf(e.stderr, "gridlatch: %v\n", err)
		return 1
	}
}

func newRoot(e env) *cobra.Command {
	root := &cobra.Command{
		Use:   "kubectl-gridlatch",
		Short: "See when delay-tolerant work starts, and what waiting for clean electricity saves",
		Long: `See when delay-tolerant work starts, and what waiting for clean electricity saves.

Gridlatch holds Kubernetes Jobs and pods that can wait until the electricity
grid is clean. These commands show what it would do, with the same planner.
Unless told to read from a cluster, they need none.`,
		Example: `  kubectl gridlatch plan forecast.json --duration 2h --deadline '06:00 Europe/Berlin'
  kubectl gridlatch simulate --actual grid.csv`,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl gridlatch"},
		Args:          noArguments,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SuggestionsMinimumDistance = 2
	root.SetIn(e.stdin)
	root.SetOut(e.stdout)
	root.SetErr(e.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w (see: %s --help)", err, cmd.CommandPath())}
	})
	root.AddCommand(newPlan(e), newSimulate(e))
	return root
}

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

// wantOutput checks the format of the output.
func wantOutput(output string) error {
	if output != "" && output != "json" {
		return wrong("output", output, errors.New("want json, or nothing for text"))
	}
	return nil
}
