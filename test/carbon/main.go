// Command carbon measures what Gridlatch saves on real grids, by the back-test of package plan/backtest: what users get
// from `kubectl gridlatch simulate`.
//
//	go run ./test/carbon -traces DIR
//
// DIR holds REGION.actual.csv (timestamp,intensity) and REGION.forecast.csv (issued,timestamp,intensity) of one or more
// regions. Jobs of 1, 4 and 12 hours with a slack of 6, 12, 24 and 48 hours arrive every 3 hours from the 15th day of
// the forecasts on. A saving is that against starting at once, the mean over regions and these twelve cells; a share
// is of what the cleanest windows, known in hindsight, save.
//
// Every figure is a table and a line "figure NAME VALUE UNIT" on stdout. Nothing is asserted: a target is printed
// beside what it is for.
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
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run returns the exit code: 0 if all went well or there is nothing to measure, 1 if not, 2 if it was called wrongly.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("carbon", flag.ContinueOnError)
	flags.SetOutput(stderr)
	dir := flags.String("traces", "", "folder with REGION.actual.csv and REGION.forecast.csv")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "carbon: unknown argument %q: see -help\n", flags.Arg(0))
		return 2
	}
	regions, err := load(*dir)
	if err != nil {
		fmt.Fprintln(stderr, "carbon:", err)
		return 1
	}
	if len(regions) == 0 {
		fmt.Fprintf(stdout, "SKIPPED, nothing was measured: %q holds no REGION.actual.csv with its REGION.forecast.csv; name a folder by -traces\n", *dir)
		return 0
	}
	if err := measure(ctx, regions, stdout); err != nil {
		fmt.Fprintln(stderr, "carbon:", err)
		return 1
	}
	return 0
}
