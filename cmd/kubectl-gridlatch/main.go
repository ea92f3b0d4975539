// Command kubectl-gridlatch is what users of Gridlatch run: as the plugin `kubectl gridlatch`, or alone. It shows when
// work would start by a forecast, and what waiting would have saved on a real grid, without a cluster; and in one, why work
// waits, what comes next, and it lets work go or holds it by hand.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
	_ "time/tzdata" // deadlines name zones, and not every machine knows them

	"github.com/go-logr/logr/funcr"
	"github.com/spf13/cobra"
	"golang.org/x/term"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/cmd/internal/screen"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, onThisMachine(), os.Args[1:])
	stop()
	os.Exit(code)
}

// env is all that the commands know of the world.
type env struct {
	stdin io.Reader
	// stdout and stderr are all that commands print to.
	stdout, stderr *screen.Screen
	now            func() time.Time
	// cluster finds the API server, and the namespace that is meant where none is named.
	cluster func(connection) (*rest.Config, string, error)
	// dial connects to it.
	dial func(*rest.Config) (client.Client, error)
	// width of the terminal, in columns.
	width int
	// live says that stderr is a terminal that is being looked at.
	live bool
}

func onThisMachine() env {
	width, _, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil || width <= 0 {
		width = 80
	}
	color := term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return env{
		stdin: os.Stdin, stdout: screen.New(os.Stdout, color), stderr: screen.New(os.Stderr, false),
		now: time.Now, cluster: findCluster, dial: dial, width: width,
		live: term.IsTerminal(int(os.Stderr.Fd())) && os.Getenv("TERM") != "dumb",
	}
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
	logger := funcr.New(func(_, text string) { e.stderr.Printf("%s\n", text) }, funcr.Options{})
	klog.SetLogger(logger) // for what client-go has to say
	ctrl.SetLogger(logger)
	root := newRoot(e)
	root.SetArgs(args)
	err := cmp.Or(root.ExecuteContext(ctx), e.stdout.Err())
	var mistake usageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, context.Canceled):
		e.stderr.Printf("interrupted\n")
		return 1
	case errors.As(err, &mistake):
		e.stderr.Printf("gridlatch: %v\n", err)
		return 2
	default:
		e.stderr.Printf("gridlatch: %v\n", err)
		return 1
	}
}

func newRoot(e env) *cobra.Command {
	root := &cobra.Command{
		Use:   "kubectl-gridlatch",
		Short: "See when delay-tolerant work starts, and what waiting for clean electricity saves",
		Long: `See when delay-tolerant work starts, and what waiting for clean electricity saves.

Gridlatch holds Kubernetes Jobs and pods that can wait until the electricity
grid is clean. These commands show what it does and would do, with the same
planner. plan and simulate need no cluster; the others find theirs as kubectl
does.

kubectl completes the names of what is held if it finds an executable
kubectl_complete-gridlatch in the PATH, that is:
  #!/bin/sh
  exec kubectl-gridlatch __complete "$@"`,
		Example: `  kubectl gridlatch explain job nightly-report
  kubectl gridlatch status
  kubectl gridlatch plan forecast.json --duration 2h --deadline '06:00 Europe/Berlin'
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
	root.AddCommand(newExplain(e), newStatus(e), newRelease(e), newHold(e), newPlan(e), newSimulate(e))
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

// wantOutput checks the format of the output; json is always one.
func wantOutput(output string, others ...string) error {
	formats := append([]string{"json"}, others...)
	if output != "" && !slices.Contains(formats, output) {
		return wrong("output", output, fmt.Errorf("want %s, or nothing for text", strings.Join(formats, " or ")))
	}
	return nil
}
