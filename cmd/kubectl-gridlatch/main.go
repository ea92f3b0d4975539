// Command kubectl-gridlatch is the command of Gridlatch's users: the plugin `kubectl gridlatch`, or a
// program of its own. Without a cluster, the command shows when work would start by a forecast, and what
// waiting would have saved on a real grid. In a cluster, the command shows why work waits and what
// starts next, and releases or holds work by hand.
//
// This package reads flags and sets exit codes. What the commands do is in the packages below:
//
//	fetch    asks a provider about a zone
//	answer   when work would start, and by which forecast
//	offline  plans by a forecast in a file, or by what a provider says
//	accounts makes reports of the ledger
//	cluster  reads a cluster, and holds and releases work there
//	replay   back-tests the planner on the past of a grid
//	render   shows all that to people
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
	_ "time/tzdata" // deadlines name time zones, and not every machine knows them

	"github.com/go-logr/logr/funcr"
	"github.com/spf13/cobra"
	"golang.org/x/term"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gridlatch/gridlatch/cmd/internal/screen"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/cluster"
)

// The exit codes; the help of the command explains them.
const (
	exitFailure = 1
	exitUsage   = 2
	exitPartial = 3
)

// name is the name of the command.
const name = "kubectl-gridlatch"

// unknownWidth is the width of a terminal that does not tell its own.
const unknownWidth = 80

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, onThisMachine(), os.Args[1:])
	stop()
	os.Exit(code)
}

// env is what the commands know of the world.
type env struct {
	stdin io.Reader
	// Commands print to nothing but stdout and stderr.
	stdout, stderr *screen.Screen
	now            func() time.Time
	// cluster finds the API server, and the namespace to use where none is named.
	cluster func(connection) (*rest.Config, string, error)
	// dial connects to it.
	dial func(*rest.Config) (client.Client, error)
	// getenv returns an environment variable. Keys of providers are there.
	getenv func(string) string
	// sleep waits between two requests to a provider; nil waits in real time.
	sleep func(context.Context, time.Duration) error
	// width of the terminal, in columns.
	width int
	// isLive says that stderr is a terminal, so that somebody can see progress.
	isLive bool
}

func onThisMachine() env {
	width, _, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil || width <= 0 {
		width = unknownWidth
	}
	hasColor := term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && enableColor(os.Stdout)
	return env{
		stdin: os.Stdin, stdout: screen.New(os.Stdout, hasColor), stderr: screen.New(os.Stderr, false),
		now: time.Now, cluster: findCluster, dial: cluster.Dial, getenv: os.Getenv, width: width,
		isLive: term.IsTerminal(int(os.Stderr.Fd())) && os.Getenv("TERM") != "dumb",
	}
}

// usageError says that the command line is wrong.
type usageError struct{ error }

// Unwrap returns what is wrong.
func (e usageError) Unwrap() error { return e.error }

// partialError says that a part of what was asked for is missing. The other part is printed, and a
// warning says why.
type partialError string

// Error says what has happened.
func (e partialError) Error() string { return string(e) }

// wrong returns the error for a flag: its name, its value, and what is allowed.
func wrong(flag, value string, err error) error {
	return usageError{fmt.Errorf("--%s %q: %w", flag, value, err)}
}

// run runs a command line and returns the exit code.
func run(ctx context.Context, e env, args []string) int {
	logger := funcr.New(func(_, text string) { e.stderr.Printf("%s\n", text) }, funcr.Options{})
	klog.SetLogger(logger) // client-go logs there
	log.SetLogger(logger)
	root := newRoot(e)
	root.SetArgs(args)
	err := cmp.Or(root.ExecuteContext(ctx), e.stdout.Err())
	switch {
	case err == nil:
		return 0
	case errors.Is(err, context.Canceled):
		e.stderr.Printf("interrupted\n")
		return exitFailure
	}
	e.stderr.Printf("gridlatch: %v\n", err)
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[partialError](err); ok {
		return exitPartial
	}
	return exitFailure
}

func newRoot(e env) *cobra.Command {
	root := &cobra.Command{
		Use:   name,
		Short: "See when work that can wait starts, and what waiting for clean electricity saves",
		Long: `See when work that can wait starts, and what waiting for clean electricity saves.

Gridlatch holds Kubernetes Jobs and pods that can wait until the electricity grid is
clean. These commands show what Gridlatch does and would do. They use the same planner.
plan, simulate, fetch and zones need no cluster. The other commands find the cluster as
kubectl does.

Exit codes:
  0  the command has done what was asked
  1  something has failed; the last line says what
  2  the command line is wrong; nothing was done
  3  fetch or report has printed only a part of what there is; a warning says why

kubectl completes the names of held work if the PATH has an executable file named
kubectl_complete-gridlatch with this content:
  #!/bin/sh
  exec kubectl-gridlatch __complete "$@"`,
		Example: `  # Why does this Job wait?
  kubectl gridlatch explain job nightly-report

  # What is held, and what starts next?
  kubectl gridlatch status

  # What has waiting saved in the last month, and what has it lost?
  kubectl gridlatch report

  # When would a job start by this forecast?
  kubectl gridlatch plan forecast.json --duration 2h --deadline '06:00 Europe/Berlin'

  # What would waiting save in this region of a cloud?
  kubectl gridlatch simulate --region eu-central-1`,
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
	root.AddCommand(newExplain(e), newStatus(e), newRelease(e), newHold(e), newReport(e), newPlan(e), newSimulate(e), newFetch(e), newZones(e), newVersion(e))
	return root
}
