// Command demo shows what Gridlatch does, on a real Kubernetes control plane on this machine.
//
// It starts the cluster in .cluster, installs Gridlatch and runs it beside the cluster, writes a forecast that is dirty
// now and clean in about a minute, and submits two Jobs: one that says it can wait, and an ordinary one. It narrates
// what happens and checks each thing it says: it ends with code 1, what was expected and what was seen, where they
// differ, and with code 2 if it was called wrongly. The cluster and Gridlatch are left running.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const help = `The demo of Gridlatch: a Job that can wait, waits for cleaner electricity.

  make demo                      with a made-up forecast: dirty now, clean in about a minute
  make demo FORECAST=file.json   with yours, at 720 times the speed: a day passes in two minutes
  make cluster EXTENDER=1        no story, only a cluster whose scheduler asks Gridlatch where power is cleanest
  make down                      stop the cluster that it leaves running, and remove .cluster

Run from the top of the source tree, make demo is:

  go run ./test/demo [--forecast FILE | --extender]

FILE is a JSON array as the carbon-intensity exporter writes it; its first location is used, and up to two days of it:

  [{"location": "CAISO_NORTH", "timestamp": "2026-11-21T18:00:00Z", "duration": 5, "value": 431.5}, ...]

with the duration in minutes and the value in gCO2eq/kWh.

Exit codes: 0 all happened as it should; 1 it did not; 2 a wrong flag, or a forecast that cannot be read.
(go run makes each failure a 1.)
`

// A usageError is a mistake of the caller.
type usageError struct{ error }

// Unwrap returns the mistake itself.
func (e usageError) Unwrap() error { return e.error }

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run returns the exit code.
func run(args []string, stdout *os.File, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := tell(ctx, args, stdout)
	var wrong usageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, help)
		return 0
	case errors.As(err, &wrong):
		fmt.Fprintf(stderr, "demo: %v\n", err)
		return 2
	case ctx.Err() != nil:
		fmt.Fprint(stderr, "\ndemo: interrupted. The cluster may still be up; to stop it: make down\n")
		return 1
	default:
		fmt.Fprintf(stderr, "\ndemo: %v\n", err)
		fmt.Fprintf(stderr, "\nThe cluster may still be up, to look at; its logs are in %s. To stop it: make down\n", logsDir)
		return 1
	}
}

// tell runs the demo that the arguments ask for.
func tell(ctx context.Context, args []string, stdout *os.File) error {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	file := flags.String("forecast", "", "")
	extender := flags.Bool("extender", false, "")
	if err := flags.Parse(args); err != nil {
		return usageError{fmt.Errorf("%w; see --help", err)}
	}
	if *extender && *file != "" {
		return usageError{errors.New("want --forecast or --extender; see --help")}
	}
	if flags.NArg() > 0 {
		return usageError{fmt.Errorf("unexpected argument %q; see --help", flags.Arg(0))}
	}
	if *extender {
		return extended(ctx, stdout)
	}
	s := madeUp()
	if *file != "" {
		var err error
		if s, err = fromFile(*file); err != nil {
			return usageError{err}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute+s.deadline)
	defer cancel()
	d := &demo{scenario: s, narrator: newNarrator(stdout)}
	return d.run(ctx)
}
