package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/gridlatch/gridlatch/test/env"
	"github.com/gridlatch/gridlatch/test/postgres"
)

// TestRowsSurviveADatabaseThatStops starts Gridlatch before the URL of the database is there, and then lets the
// database crash. Jobs end meanwhile, and others are released in time. Once the database is back, each group is there
// as the report has it.
func TestRowsSurviveADatabaseThatStops(t *testing.T) {
	server := postgres.Start(t)
	file := filepath.Join(t.TempDir(), "url")
	c, g := ownCluster(t, "--ledger-interval=2s", "--ledger-database-file="+file)
	seen := watchAll(t, c)
	grid := &lapse{start: time.Now().Truncate(lapsedHour)}
	if err := grid.publish(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	ns := namespace(t, c)
	awaitHolding(t, c, ns)

	create(t, c, lapseJob(ns, 0), lapseJob(ns, 1), lapseJob(ns, 2))
	awaitAllBooked(t, c, grid, seen)
	awaitAtLeast(t, g, databaseFailures, 1)
	if err := os.WriteFile(file, []byte(server.URL()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	awaitAtLeast(t, g, databaseRows, 3) // by then, there is a table
	awaitRows(t, c, grid, server, patience)
	before, err := g.Metric(t.Context(), databaseFailures)
	if err != nil {
		t.Fatal(err)
	}

	server.Stop("immediate")
	for _, i := range []int{3, 4, 5, 9, 10, 11, 12} { // one cannot wait, one has three pods, one fails and is retried
		create(t, c, lapseJob(ns, i))
	}
	awaitAllBooked(t, c, grid, seen)
	heldThroughOutage(t, seen)
	awaitAtLeast(t, g, databaseFailures, before+1)
	if failures, err := g.Metric(t.Context(), "gridlatch_ledger_failures_total"); err != nil || failures != 0 {
		t.Errorf("%v passes of the ledger have failed: %v", failures, err)
	}

	server.Start()
	awaitRows(t, c, grid, server, 4*time.Minute) // the pauses between attempts have become longer
	groups, _, _ := seen.works()
	if rows, err := g.Metric(t.Context(), databaseRows); err != nil || int(rows) < len(groups) {
		t.Errorf("%v rows were written for %d groups: %v", rows, len(groups), err)
	}
	hasNoPassword(t, g.Log(), server)
}

// The metrics that tell of the database.
const (
	databaseFailures = "gridlatch_ledger_database_failures_total"
	databaseRows     = "gridlatch_ledger_rows_total"
)

// awaitAtLeast waits until a metric has a value, or is above.
func awaitAtLeast(t *testing.T, g *env.Controller, name string, want float64) {
	t.Helper()
	// the pause before the next attempt doubles with each failure
	env.Eventually(t, 5*patience, func(ctx context.Context) error {
		value, err := g.Metric(ctx, name)
		if err == nil && value < want {
			err = fmt.Errorf("%s is %v, want %v", name, value, want)
		}
		return err
	})
}

// awaitAllBooked waits until all Jobs that were seen have ended and are booked. Time goes on for the grid.
func awaitAllBooked(t *testing.T, c *env.Cluster, grid *lapse, seen *witness) {
	t.Helper()
	env.Eventually(t, 4*patience, func(ctx context.Context) error {
		if err := grid.publish(ctx, c); err != nil {
			return err
		}
		works, _, open := seen.works()
		if open > 0 {
			return fmt.Errorf("%d Jobs have not ended", open)
		}
		reported, err := reportedGroups(ctx, c)
		if err == nil && len(reported) != len(works) {
			err = fmt.Errorf("%d groups are booked, want %d", len(reported), len(works))
		}
		return err
	})
}

// reportedGroups returns the groups as kubectl gridlatch report tells them, by their UIDs.
func reportedGroups(ctx context.Context, c *env.Cluster) (map[types.UID]databaseRow, error) {
	text, err := c.Plugin(ctx, "report", "--rows", "-o", "json", "--since", "1d")
	if err != nil {
		return nil, err
	}
	var report struct{ Groups []databaseRow }
	if err := json.Unmarshal([]byte(text), &report); err != nil {
		return nil, fmt.Errorf("read the report: %w", err)
	}
	return byUID(report.Groups)
}

// awaitRows waits until the database has what the report has. Time goes on for the grid.
func awaitRows(t *testing.T, c *env.Cluster, grid *lapse, server *postgres.Server, timeout time.Duration) {
	t.Helper()
	env.Eventually(t, timeout, func(ctx context.Context) error {
		if err := grid.publish(ctx, c); err != nil {
			return err
		}
		return compareRows(ctx, c, server)
	})
}

// heldThroughOutage fails the test unless work that waited was released by its latest start.
func heldThroughOutage(t *testing.T, seen *witness) {
	t.Helper()
	works, names, _ := seen.works()
	held := 0
	for uid, work := range works {
		if work.Waited == 0 {
			continue
		}
		held++
		if late := work.Created.Add(work.Waited).Sub(work.LatestStart); late > 2*time.Second {
			t.Errorf("%s was released %v after its latest start %v", names[uid], late, work.LatestStart)
		}
	}
	if held < 5 {
		t.Errorf("%d groups were held: the test shows too little", held)
	}
}

// databaseRow is what the database and the report both have of a group.
type databaseRow struct {
	UID                                                         types.UID
	Namespace, Name, Owner, Policy, Mode, Location, Energy      string
	Arrived, Released, Ended                                    time.Time
	Failed                                                      bool
	Units, Joules, FailedJoules, Grams, OtherGrams, OracleGrams *float64
}

// queryRows makes JSON of the rows, with the names that the report has.
const queryRows = `SELECT coalesce(json_agg(r), '[]') FROM (SELECT uid AS "UID", namespace, name, owner, policy, mode, location, energy,
	arrived, released, ended, failed, units, joules, failed_joules AS "failedJoules", grams, other_grams AS "otherGrams", oracle_grams AS "oracleGrams"
	FROM gridlatch_groups) AS r`

func byUID(all []databaseRow) (map[types.UID]databaseRow, error) {
	found := map[types.UID]databaseRow{}
	for _, r := range all {
		if _, twice := found[r.UID]; twice {
			return nil, fmt.Errorf("%s is there twice", r.Name)
		}
		found[r.UID] = r
	}
	return found, nil
}

// compareRows returns an error unless the database has just the groups of the report, with the same figures, all of
// them known.
func compareRows(ctx context.Context, c *env.Cluster, server *postgres.Server) error {
	reported, err := reportedGroups(ctx, c)
	if err != nil {
		return err
	}
	var all []databaseRow
	if err := json.Unmarshal([]byte(server.Query(queryRows)), &all); err != nil {
		return fmt.Errorf("read the rows: %w", err)
	}
	rows, err := byUID(all)
	if err != nil {
		return err
	}
	for uid, want := range reported {
		row, ok := rows[uid]
		if !ok {
			return fmt.Errorf("of %d groups, %d are in the database, and %s is not", len(reported), len(rows), want.Name)
		}
		delete(rows, uid)
		if err := row.differs(want); err != nil {
			return fmt.Errorf("%s: %w", want.Name, err)
		}
	}
	for _, row := range rows {
		return fmt.Errorf("%s is in the database only", row.Name)
	}
	return nil
}

// differs returns an error unless a row is what the report has.
func (r databaseRow) differs(want databaseRow) error {
	texts := func(r databaseRow) string {
		return fmt.Sprint(r.Namespace, r.Name, r.Owner, r.Policy, r.Mode, r.Location, r.Energy, r.Failed, r.Arrived.UTC(), r.Released.UTC(), r.Ended.UTC())
	}
	if texts(r) != texts(want) {
		return fmt.Errorf("the row has %s, the report %s", texts(r), texts(want))
	}
	figures := func(r databaseRow) []*float64 {
		return []*float64{r.Units, r.Joules, r.FailedJoules, r.Grams, r.OtherGrams, r.OracleGrams}
	}
	for i, want := range figures(want) {
		got := figures(r)[i]
		switch {
		case got == nil || want == nil:
			return fmt.Errorf("figure %d is not known: in the row %t, in the report %t", i, got == nil, want == nil)
		case math.Abs(*got-*want) > 1e-6*math.Abs(*want):
			return fmt.Errorf("figure %d is %v in the row, and %v in the report", i, *got, *want)
		}
	}
	return nil
}

// hasNoPassword fails the test if a log has the password of the database, as it is or as a URL has it.
func hasNoPassword(t *testing.T, log string, server *postgres.Server) {
	t.Helper()
	if !strings.Contains(log, "cannot write the rows of the ledger") {
		t.Error("the log does not tell of the outage")
	}
	_, escaped, _ := strings.Cut(url.UserPassword("", server.Password).String(), ":")
	for _, secret := range []string{server.Password, escaped, url.QueryEscape(server.Password)} {
		if strings.Contains(log, secret) {
			t.Errorf("the log has the password, as %q", secret)
		}
	}
}

// TestTheDatabaseComponentIsAdmittedAsItIs beside another component with a volume, in either order. Nothing of the
// Secret may keep a pod from starting: it is optional.
func TestTheDatabaseComponentIsAdmittedAsItIs(t *testing.T) {
	for _, components := range [][]string{{"ledger-database", "cert-manager"}, {"cert-manager", "ledger-database"}, {"ledger-database"}} {
		rendered := overlay(t, components...)
		var d appsv1.Deployment
		find(t, rendered, "Deployment", "gridlatch", &d)
		deployment, err := yaml.Marshal(&d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cluster.KubectlInput(t.Context(), string(deployment), "apply", "--dry-run=server", "--validate=strict", "-f", "-"); err != nil {
			t.Error(err)
		}
		pod := d.Spec.Template.Spec
		if len(pod.Volumes) != len(components) || len(pod.Containers[0].VolumeMounts) != len(components) {
			t.Errorf("%v: the volumes are %v, mounted as %v", components, pod.Volumes, pod.Containers[0].VolumeMounts)
		}
		mount := slices.IndexFunc(pod.Containers[0].VolumeMounts, func(m corev1.VolumeMount) bool {
			return slices.Contains(pod.Containers[0].Args, "--ledger-database-file="+m.MountPath+"/url") && m.ReadOnly
		})
		if mount < 0 {
			t.Errorf("%v: no mount has the file that the flags name", components)
			continue
		}
		volume := slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == pod.Containers[0].VolumeMounts[mount].Name })
		if volume < 0 || pod.Volumes[volume].Secret == nil || !*pod.Volumes[volume].Secret.Optional {
			t.Errorf("%v: the volumes are %v", components, pod.Volumes)
		}
	}
}
