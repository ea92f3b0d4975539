package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/accounts"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/render"
	"github.com/gridlatch/gridlatch/plan"
)

// maxReportYears is how far back a report can go.
const maxReportYears = 100

type reportFlags struct {
	connection   connection
	since, until string
	by           []string
	withGroups   bool
	html, ledger string
	output       string
}

func newReport(e env) *cobra.Command {
	f := &reportFlags{}
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Show what work emitted, what waiting saved and lost, and what was possible",
		Long: `Show what work emitted, what waiting saved and lost, and what was possible.

The report is made of Gridlatch's ledger. For all work that has ended and on which
Gridlatch decided, it shows the energy and how the energy is known, the emissions
by the actual intensities, and three comparisons:

  avoided and added   against the same run, started when the work came. Work that
                      got dirtier by waiting is in "added". Net is avoided less added.
  percent             the net, of what would have been emitted without waiting
  perfect foresight   what the best start within the slack would have saved, known
                      only afterwards; and which share of that was saved

Failed work counts as emissions without work. "g per unit" is the software carbon
intensity of ISO/IEC 21031, with the emissions of making the nodes. Audited work was
not held. It has its own tables, and is never summed with other work.

The sentences at the end say what the figures can and cannot claim. Read them before
you send a figure around.

A report of the whole cluster, without -n, also says how much of what the cluster ran
could wait at all, how much of that waited, and what the rest could not gain.

The ledger is in ConfigMaps of Gridlatch's namespace: you need the Role
gridlatch-report-reader there. It has sums of 400 days, and of months before that. It
has each group of the last three days (--rows); older groups are in PostgreSQL if
Gridlatch runs with --ledger-database.`,
		Example: `  # The last 30 days, by namespace
  kubectl gridlatch report

  # A quarter of one namespace, by month and policy
  kubectl gridlatch report -n batch --since 2026-07-01 --until 2026-10-01 --by month,policy

  # A page to send around
  kubectl gridlatch report --since 90d --html report.html

  # For a spreadsheet, and for an issue
  kubectl gridlatch report --by day,namespace -o csv > days.csv
  kubectl gridlatch report --by policy -o markdown

  # Each group of the last three days with its power and its account, for an auditor
  kubectl gridlatch report --since 3d --rows -o csv > groups.csv

  # Without a cluster
  kubectl -n gridlatch-system get configmaps -o yaml > ledger.yaml
  kubectl gridlatch report --ledger ledger.yaml`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), e) },
	}
	f.bind(cmd)
	return cmd
}

func (f *reportFlags) bind(cmd *cobra.Command) {
	names := make([]string, 0, len(accounts.Dimensions()))
	for _, d := range accounts.Dimensions() {
		names = append(names, string(d))
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.since, "since", "30d", "count work that ended since then: so many days up to --until, or 2026-08-01")
	flags.StringVar(&f.until, "until", "", "count work that ended before this day or instant; a day that has begun counts\nas a whole (default: now)")
	flags.StringSliceVar(&f.by, "by", []string{"namespace"}, "a row for each: "+strings.Join(names, ", ")+"\n(of the energy); can be given several times")
	flags.BoolVar(&f.withGroups, "rows", false, "also show each group that the ledger still has, of the last three days;\nwith -o csv, only these")
	flags.StringVarP(&f.output, "output", "o", "", "table, json, csv or markdown; table if not given")
	flags.StringVar(&f.html, "html", "", "write the report with plots into this file, as one page for a browser; nothing is\nprinted unless -o asks for it")
	flags.StringVar(&f.ledger, "ledger", "", "read ConfigMaps from this file, and not from a cluster; - for standard input")
	f.connection.bind(flags)
	complete := func(flag string, words ...string) {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
	}
	complete("by", names...)
	complete("output", "table", "json", "csv", "markdown")
	_ = cmd.MarkFlagFilename("html", "html")           // the flag exists
	_ = cmd.MarkFlagFilename("ledger", "yaml", "json") // the flag exists
}

func (f *reportFlags) run(ctx context.Context, e env) error {
	question, err := f.question(e.now().UTC())
	if err != nil {
		return err
	}
	ledger, err := f.read(ctx, e, question)
	if err != nil {
		return err
	}
	report := accounts.New(question, ledger)
	e.warn(report.Warnings)
	if f.html != "" {
		if err := writeFile(f.html, func(w io.Writer) error { return render.AccountsHTML(w, report) }); err != nil {
			return err
		}
	}
	if err := f.print(e, report); err != nil {
		return err
	}
	if report.IsPartial {
		return partialError("only a part of the ledger was read")
	}
	return nil
}

// read reads the ledger from the file that a flag names, or from the cluster.
func (f *reportFlags) read(ctx context.Context, e env, q accounts.Question) (*accounts.Ledger, error) {
	if f.ledger != "" {
		return accounts.ReadFile(f.ledger, e.stdin, q)
	}
	c, err := e.connect(f.connection)
	if err != nil {
		return nil, err
	}
	return c.Ledger(ctx, q)
}

func (f *reportFlags) print(e env, report accounts.Report) error {
	switch f.output {
	case "json":
		return e.stdout.JSON(report)
	case "csv":
		return render.AccountsCSV(e.stdout, report)
	case "markdown":
		return render.AccountsMarkdown(e.stdout, report)
	case "":
		if f.html != "" { // the file has all of it
			return nil
		}
	}
	e.page().Accounts(report)
	return nil
}

// question reads the flags.
func (f *reportFlags) question(now time.Time) (accounts.Question, error) {
	q := accounts.Question{Namespace: f.connection.namespace(), WithGroups: f.withGroups, Now: now, Until: now}
	if formats := []string{"", "table", "json", "csv", "markdown"}; !slices.Contains(formats, f.output) {
		return q, wrong("output", f.output, errors.New("want table, json, csv or markdown"))
	}
	var err error
	if q.By, err = accounts.ParseDimensions(f.by); err != nil {
		return q, usageError{fmt.Errorf("--by: %w", err)}
	}
	if f.until != "" {
		if q.Until, err = parseDay(f.until); err != nil {
			return q, wrong("until", f.until, err)
		}
	}
	q.Until = endOfDay(q.Until)
	if length, err := plan.ParseDuration(f.since); err == nil {
		q.Since = q.Until.Add(-length)
	} else if q.Since, err = parseDay(f.since); err != nil {
		return q, wrong("since", f.since, fmt.Errorf("want a duration of at most %s, an instant or a day, such as 30d, 2026-08-01T00:00:00Z or 2026-08-01", plan.FormatDuration(plan.MaxDuration)))
	}
	const day = 24 * time.Hour
	q.Since = q.Since.Truncate(day)
	if !q.Since.Before(q.Until) || q.Since.AddDate(maxReportYears, 0, 0).Before(q.Until) {
		return q, wrong("since", f.since, fmt.Errorf("want a time before %s, by at most %d years", plan.FormatTime(q.Until), maxReportYears))
	}
	return q, nil
}

// endOfDay returns the end of the day that is not over at an instant.
func endOfDay(t time.Time) time.Time {
	const day = 24 * time.Hour
	if begin := t.Truncate(day); begin.Before(t) {
		return begin.Add(day)
	}
	return t
}
