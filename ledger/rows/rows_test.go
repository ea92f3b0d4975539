package rows_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gridlatch/gridlatch/ledger"
	"github.com/gridlatch/gridlatch/ledger/energy"
	"github.com/gridlatch/gridlatch/ledger/rows"
	"github.com/gridlatch/gridlatch/test/postgres"
)

var noon = time.Date(2026, time.March, 3, 12, 0, 0, 0, time.UTC)

// full returns a group with a value in every field, and its account.
func full(uid string) ledger.Counted {
	return ledger.Counted{
		Group: ledger.Group{
			UID: uid, Kind: "Job", Namespace: "team", Name: "nightly-1", Owner: "CronJob/nightly", Policy: "default", Mode: ledger.Enforce,
			Source: "provider", Location: "DE", OtherLocation: "FR",
			Arrived: noon, LatestStart: noon.Add(8 * time.Hour), Released: noon.Add(3*time.Hour + 123456*time.Microsecond), Ended: noon.Add(5 * time.Hour), SeenEnd: true,
			Wait: 3*time.Hour + 123456789*time.Nanosecond, Failed: true,
			Steps: []ledger.Step{
				{Start: noon.Add(3 * time.Hour), End: noon.Add(4 * time.Hour), Watts: 12.3, FailedWatts: 1.0 / 3},
				{Start: noon.Add(4 * time.Hour), End: noon.Add(5 * time.Hour), Watts: 0.1},
			},
			Energy: energy.Modelled, Units: 2.5, EmbodiedGrams: 0.7, CoreHours: 1e-9,
		},
		Account: ledger.Account{
			Joules: 1234567.891, FailedJoules: 12, IsKnown: true, Grams: 100.25, FailedGrams: 3,
			IsCompared: true, OtherGrams: 80.5, HasOracle: true, OracleGrams: -1.5,
		},
	}
}

// plain returns a group that ended at a time, of which the intensities are not known yet.
func plain(uid string, ended time.Time) ledger.Counted {
	return ledger.Counted{
		Group: ledger.Group{
			UID: uid, Kind: "Job", Namespace: "team", Name: uid, Owner: "Job/" + uid, Policy: "default", Mode: ledger.Enforce, Source: "provider", Location: "DE",
			OtherLocation: "DE", Arrived: ended.Add(-2 * time.Hour), Released: ended.Add(-time.Hour), Ended: ended, SeenEnd: true, Wait: time.Hour,
			Steps: []ledger.Step{{Start: ended.Add(-time.Hour), End: ended, Watts: 5}}, Energy: energy.Stated, Units: 1,
		},
		Account: ledger.Account{Joules: 18000},
	}
}

func open(t *testing.T, config rows.Config) *rows.Table {
	t.Helper()
	table, err := rows.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = table.Close() })
	return table
}

func read(t *testing.T, table *rows.Table, since, until time.Time) []rows.Row {
	t.Helper()
	var found []rows.Row
	err := table.Read(t.Context(), since, until, func(r rows.Row) error {
		found = append(found, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func syncNow(t *testing.T, table *rows.Table, groups []ledger.Counted) int {
	t.Helper()
	written, err := table.Sync(t.Context(), groups)
	if err != nil {
		t.Fatal(err)
	}
	return written
}

func counted(found []rows.Row) []ledger.Counted {
	var all []ledger.Counted
	for _, r := range found {
		all = append(all, r.Counted)
	}
	return all
}

// empty removes all tables.
func empty(server *postgres.Server) {
	server.Exec(postgres.Database, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
}

// TestTheTable has one server for all that does not stop it.
func TestTheTable(t *testing.T) {
	server := postgres.Start(t)
	for name, test := range map[string]func(*testing.T, *postgres.Server){
		"WhatIsWrittenIsReadBack":                   whatIsWrittenIsReadBack,
		"WhatIsNotKnownIsNull":                      whatIsNotKnownIsNull,
		"SavingsHaveTheSignOfTheMode":               savingsHaveTheSign,
		"ARevisionUpdatesItsRowOnly":                aRevisionUpdates,
		"AProgramThatKnowsLessChangesNothing":       knowingLessChangesNothing,
		"ManyGroupsTakeSeveralBatches":              manyGroups,
		"HostileGroupsAreStoredAndHarmNothing":      hostileGroups,
		"OneRefusedRowKeepsOutNoOther":              oneRefusedRow,
		"SyncGivesUpWhenTheDatabaseRefusesAll":      allRefused,
		"ReadHasTheSpanInOrder":                     readHasTheSpan,
		"ReadStopsAtTheFirstErrorOfItsCaller":       readStops,
		"TwoWritersAtOnceWriteEachGroupOnce":        twoWriters,
		"WithCurrentTablesRightsToWriteSuffice":     fewRights,
		"AReaderNeedsOnlyTheRightToRead":            readOnly,
		"AWrongPasswordIsAnErrorWithoutThePassword": wrongPassword,
		"APasswordThatChangesNeedsNoRestart":        passwordChanges,
		"WithoutAnSSLModeTLSIsRequired":             tlsIsRequired,
		"TheQueriesOfThePageRun":                    thePagesQueriesRun,
		"ThePageHasEveryColumn":                     thePageHasEveryColumn,
		"AServerThatHangsHoldsUpNobody":             serverHangs,
	} {
		t.Run(name, func(t *testing.T) {
			empty(server)
			test(t, server)
		})
	}
}

func whatIsWrittenIsReadBack(t *testing.T, server *postgres.Server) {
	table := open(t, rows.Config{URL: server.URL()})
	want := []ledger.Counted{full("a"), full("b")}
	want[1].Group.LatestStart, want[1].Group.Mode, want[1].Group.Energy = time.Time{}, ledger.Audit, energy.Unknown
	if err := table.Write(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	found := read(t, table, time.Time{}, time.Time{})
	if diff := cmp.Diff(want, counted(found)); diff != "" {
		t.Errorf("(-written +read):\n%s", diff)
	}
	for _, r := range found {
		if since := time.Since(r.FirstBooked); since < 0 || since > time.Hour || !r.Revised.IsZero() {
			t.Errorf("first booked at %v, revised at %v", r.FirstBooked, r.Revised)
		}
	}
}

func whatIsNotKnownIsNull(t *testing.T, server *postgres.Server) {
	table := open(t, rows.Config{URL: server.URL()})
	want := []ledger.Counted{plain("a", noon)}
	syncNow(t, table, want)
	if diff := cmp.Diff(want, counted(read(t, table, time.Time{}, time.Time{}))); diff != "" {
		t.Errorf("(-written +read):\n%s", diff)
	}
	if got := server.Query("SELECT num_nulls(grams, failed_grams, other_grams, saved_grams, oracle_grams, latest_start, revised) FROM gridlatch_groups"); got != "7" {
		t.Errorf("%s columns are null, want 7", got)
	}
}

func savingsHaveTheSign(t *testing.T, server *postgres.Server) {
	table := open(t, rows.Config{URL: server.URL()})
	lost, audited := full("lost"), full("would-win")
	audited.Group.Mode = ledger.Audit
	syncNow(t, table, []ledger.Counted{lost, audited})
	if got, want := server.Query("SELECT uid, saved_grams FROM gridlatch_groups ORDER BY uid"), "lost|-19.75\nwould-win|19.75"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func aRevisionUpdates(t *testing.T, server *postgres.Server) {
	table := open(t, rows.Config{URL: server.URL()})
	groups := []ledger.Counted{full("a"), full("b"), plain("c", noon)}
	if n := syncNow(t, table, groups); n != 3 {
		t.Errorf("wrote %d rows, want 3", n)
	}
	if n := syncNow(t, table, groups); n != 0 {
		t.Errorf("wrote %d rows again", n)
	}
	first := read(t, table, time.Time{}, time.Time{})
	groups[1].Account.Grams = 90
	groups[2].Account = ledger.Account{Joules: 18000, IsKnown: true, Grams: 0}
	if n := syncNow(t, table, groups); n != 2 {
		t.Errorf("revised %d rows, want 2", n)
	}
	for i, r := range read(t, table, time.Time{}, time.Time{}) {
		if was := first[i].Group.UID; was != r.Group.UID || !r.FirstBooked.Equal(first[i].FirstBooked) {
			t.Errorf("row %d: %s is %s now, first booked at %v, now at %v", i, was, r.Group.UID, first[i].FirstBooked, r.FirstBooked)
		}
		if isRevised := !r.Revised.IsZero(); isRevised != (r.Group.UID != "a") {
			t.Errorf("%s: revised at %v", r.Group.UID, r.Revised)
		}
	}
	if got := server.Query("SELECT grams FROM gridlatch_groups ORDER BY uid"); got != "100.25\n90\n0" {
		t.Errorf("grams are %q", got)
	}
}

func knowingLessChangesNothing(t *testing.T, server *postgres.Server) {
	table := open(t, rows.Config{URL: server.URL()})
	syncNow(t, table, []ledger.Counted{full("a")})
	for i, forget := range []func(*ledger.Account){
		func(a *ledger.Account) { *a = ledger.Account{Joules: a.Joules} },
		func(a *ledger.Account) { a.IsCompared, a.OtherGrams, a.Grams = false, 0, 7 },
		func(a *ledger.Account) { a.HasOracle, a.OracleGrams, a.Grams = false, 0, 7 },
	} {
		less := full("a")
		forget(&less.Account)
		if n := syncNow(t, table, []ledger.Counted{less}); n != 0 {
			t.Errorf("case %d: wrote %d rows", i, n)
		}
		if err := table.Write(t.Context(), []ledger.Counted{less}); err != nil {
			t.Errorf("case %d: %v", i, err)
		}
		if diff := cmp.Diff([]ledger.Counted{full("a")}, counted(read(t, table, time.Time{}, time.Time{}))); diff != "" {
			t.Errorf("case %d: (-want +got):\n%s", i, diff)
		}
	}
}

func manyGroups(t *testing.T, server *postgres.Server) {
	table := open(t, rows.Config{URL: server.URL()})
	var groups []ledger.Counted
	for i := range 1234 {
		groups = append(groups, plain(fmt.Sprintf("g%04d", 1233-i), noon.Add(time.Duration(i)*time.Second)))
	}
	groups = append(groups, groups[1233], groups[1233]) // in one batch with itself
	if n := syncNow(t, table, groups[:100]) + syncNow(t, table, groups); n != 1234 {
		t.Errorf("wrote %d rows, want 1234", n)
	}
	if found := read(t, table, time.Time{}, time.Time{}); len(found) != 1234 {
		t.Errorf("read %d rows, want 1234", len(found))
	}
	if n := syncNow(t, table, nil); n != 0 {
		t.Errorf("wrote %d of no groups", n)
	}
}

func hostileGroups(t *testing.T, server *postgres.Server) {
	table := open(t, rows.Config{URL: server.URL()})
	names := []string{
		"'); DROP TABLE gridlatch_groups; --", `"quoted" \ $1 $$ %s`, "nul\x00nul", "\xff\xfe not UTF-8", "\u202eright to left", "", strings.Repeat("long", 1<<16),
		"<script>alert(1)</script>", "\r\n\t\x1b[31m", "NULL", "\ufffe\U0010ffff",
	}
	numbers := []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, -math.MaxFloat64, 5e-324, -1, 1e300, -1e300, 0, math.Copysign(0, -1)}
	times := []time.Time{{}, time.Unix(-1<<40, 0), time.Unix(1<<55, 0), time.Unix(0, 1), noon.In(time.FixedZone("", 12345)), time.Unix(-1<<62, 0)}
	var groups []ledger.Counted
	for i := range 66 {
		name, x, at := names[i%len(names)], numbers[i%len(numbers)], times[i%len(times)]
		y := numbers[i*7%len(numbers)]
		groups = append(groups, ledger.Counted{
			Group: ledger.Group{
				UID: fmt.Sprint(i, name[:min(100, len(name))]), Kind: name, Namespace: name, Name: name, Owner: name, Policy: name, Mode: ledger.Mode(name), Source: name,
				Location: name, OtherLocation: name, Arrived: at, LatestStart: at, Released: at, Ended: at, Wait: math.MinInt64 + time.Duration(i),
				Steps: []ledger.Step{{Start: at, End: at, Watts: x, FailedWatts: y}}, Energy: energy.Source(name), Units: x, EmbodiedGrams: y, CoreHours: x,
			},
			Account: ledger.Account{Joules: x, FailedJoules: y, IsKnown: true, Grams: x, FailedGrams: x, IsCompared: true, OtherGrams: y, HasOracle: true, OracleGrams: x},
		})
	}
	if n := syncNow(t, table, groups); n != len(groups) {
		t.Errorf("wrote %d rows, want %d", n, len(groups))
	}
	if n := syncNow(t, table, groups); n != 0 {
		t.Errorf("wrote %d rows again", n)
	}
	found := map[string]ledger.Group{}
	for _, r := range read(t, table, time.Time{}, time.Time{}) {
		found[r.Group.UID] = r.Group
	}
	if len(found) != len(groups) {
		t.Errorf("read %d groups, want %d", len(found), len(groups))
	}
	if got := found["0"+names[0]].Name; got != names[0] {
		t.Errorf("the name is %q, want %q", got, names[0])
	}
	if got, want := found["2nul\ufffdnul"].Name, "nul\ufffdnul"; got != want {
		t.Errorf("the name is %q, want %q", got, want)
	}
	if got := server.Query("SELECT count(*) FROM gridlatch_groups WHERE grams IN ('NaN', 'Infinity', '-Infinity')"); got != "0" {
		t.Errorf("%s rows have grams that are no number", got)
	}
	server.Query("SELECT sum(saved_grams) FROM gridlatch_groups")
}

func oneRefusedRow(t *testing.T, server *postgres.Server) {
	table := open(t, rows.Config{URL: server.URL()})
	syncNow(t, table, []ledger.Counted{plain("first", noon)})
	server.Exec(postgres.Database, "ALTER TABLE gridlatch_groups ADD CHECK (name NOT LIKE 'bad%')")
	var groups []ledger.Counted
	for i := range 100 {
		groups = append(groups, plain(fmt.Sprintf("good-%d", i), noon))
	}
	groups[17], groups[80] = plain("bad-17", noon), plain("bad-80", noon)
	written, err := table.Sync(t.Context(), groups)
	if written != 98 || err == nil || !strings.Contains(err.Error(), "refuses 2 groups") || !strings.Contains(err.Error(), "bad-17") {
		t.Errorf("wrote %d rows, want 98; error: %v", written, err)
	}
	if got := server.Query("SELECT count(*) FROM gridlatch_groups"); got != "99" {
		t.Errorf("the table has %s rows, want 99", got)
	}
}

func allRefused(t *testing.T, server *postgres.Server) {
	table := open(t, rows.Config{URL: server.URL()})
	syncNow(t, table, []ledger.Counted{plain("first", noon)})
	server.Exec(postgres.Database, "CREATE SEQUENCE tries", `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN PERFORM nextval('tries'); RAISE 'no'; END $$`, "CREATE TRIGGER refuse BEFORE INSERT ON gridlatch_groups FOR EACH STATEMENT EXECUTE FUNCTION refuse()")
	var groups []ledger.Counted
	for i := range 1000 {
		groups = append(groups, plain(fmt.Sprint(i), noon))
	}
	if written, err := table.Sync(t.Context(), groups); written != 0 || err == nil {
		t.Errorf("wrote %d rows, error: %v", written, err)
	}
	if tries := server.Query("SELECT last_value < 100 FROM tries"); tries != "t" {
		t.Errorf("tried %s times", server.Query("SELECT last_value FROM tries"))
	}
}

func readHasTheSpan(t *testing.T, server *postgres.Server) {
	table := open(t, rows.Config{URL: server.URL()})
	syncNow(t, table, []ledger.Counted{
		plain("late", noon.Add(time.Hour)), plain("b", noon), plain("a", noon), plain("early", noon.Add(-time.Microsecond)), plain("zero", time.Time{}),
	})
	hour := noon.Add(time.Hour)
	for name, test := range map[string]struct {
		since, until time.Time
		want         string
	}{
		"all":              {want: "zero early a b late"},
		"since":            {since: noon, want: "a b late"},
		"until":            {until: noon, want: "zero early"},
		"a span":           {since: noon, until: hour, want: "a b"},
		"in another zone":  {since: noon.In(time.FixedZone("", -7*3600)), until: hour, want: "a b"},
		"an inverted span": {since: hour, until: noon},
	} {
		var got []string
		for _, r := range read(t, table, test.since, test.until) {
			got = append(got, r.Group.UID)
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: got %v, want %s", name, got, test.want)
		}
	}
}

func readStops(t *testing.T, server *postgres.Server) {
	table := open(t, rows.Config{URL: server.URL()})
	syncNow(t, table, []ledger.Counted{plain("a", noon), plain("b", noon)})
	enough, calls := errors.New("enough"), 0
	err := table.Read(t.Context(), time.Time{}, time.Time{}, func(rows.Row) error { calls++; return enough })
	if !errors.Is(err, enough) || calls != 1 {
		t.Errorf("%d calls, error: %v", calls, err)
	}
	if found := read(t, table, time.Time{}, time.Time{}); len(found) != 2 {
		t.Errorf("read %d rows afterwards", len(found))
	}
}

func twoWriters(t *testing.T, server *postgres.Server) {
	var groups []ledger.Counted
	for i := range 2000 {
		groups = append(groups, plain(fmt.Sprint(i), noon))
	}
	var wait sync.WaitGroup
	for range 4 {
		table := open(t, rows.Config{URL: server.URL()}) // each makes the tables, too
		wait.Go(func() {
			if _, err := table.Sync(t.Context(), groups); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if got := server.Query("SELECT count(*), count(revised), (SELECT count(*) FROM gridlatch_schema) FROM gridlatch_groups"); got != "2000|0|1" {
		t.Errorf("rows, revised rows and versions are %s", got)
	}
}
