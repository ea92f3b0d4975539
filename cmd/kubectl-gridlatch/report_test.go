package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/accounts"
	"github.com/gridlatch/gridlatch/feed/history"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/ledger"
	"github.com/gridlatch/gridlatch/ledger/energy"
	"github.com/gridlatch/gridlatch/ledger/pages"
	"github.com/gridlatch/gridlatch/policy"
)

// reportDays is how many days the ledger of the tests has.
const reportDays = 20

// bookedGroup returns work that came at an hour of a day, waited, and ran for three hours at 1 kW.
func bookedGroup(t *testing.T, daysAgo int, name string, arrivedHour, waitHours int) ledger.Group {
	t.Helper()
	arrived := parse(t, evening).Truncate(24*time.Hour).AddDate(0, 0, -daysAgo).Add(time.Duration(arrivedHour) * time.Hour)
	released := arrived.Add(time.Duration(waitHours) * time.Hour)
	ended := released.Add(3 * time.Hour)
	return ledger.Group{
		UID: fmt.Sprintf("%s-%d", name, daysAgo), Kind: "Job", Namespace: "batch", Name: fmt.Sprintf("%s-%d", name, daysAgo), Owner: "CronJob/" + name,
		Policy: "default", Mode: ledger.Enforce, Source: gridSource().String(), Location: "DE", OtherLocation: "DE",
		Arrived: arrived, LatestStart: arrived.Add(12 * time.Hour), Released: released, Ended: ended, SeenEnd: true, Wait: released.Sub(arrived),
		Steps: []ledger.Step{{Start: released, End: ended, Watts: 1000}}, Energy: energy.Modelled, Units: 1, EmbodiedGrams: 3, CoreHours: 3,
	}
}

// gridSource is the forecast by a policy that names a provider.
func gridSource() forecast.Source { return policy.SourceOf(gridPolicy(), "gridlatch-system") }

func gridPolicy() *v1alpha1.CarbonPolicy {
	p := v1alpha1.Default()
	p.Spec.Forecast.Provider = &v1alpha1.ForecastProvider{Type: "EnergyCharts"}
	return p
}

// bookedGroups returns the work of some weeks: nightly work that gains, morning work that loses, work that
// fails, work that is audited, and work of which nobody knows the energy.
func bookedGroups(t *testing.T) []ledger.Group {
	t.Helper()
	var all []ledger.Group
	for daysAgo := range reportDays {
		nightly := bookedGroup(t, daysAgo+1, "nightly", 20, 5) // 400 at once, 100 from 1:00 to 4:00
		nightly.Energy = map[bool]energy.Source{true: energy.Measured, false: energy.Modelled}[daysAgo%4 == 0]
		audited := bookedGroup(t, daysAgo+1, "trial", 20, 0)
		audited.Mode, audited.Namespace, audited.Wait = ledger.Audit, "shop", 5*time.Hour
		all = append(all, nightly, audited)
		if daysAgo%5 == 0 {
			all = append(all, bookedGroup(t, daysAgo+1, "early", 3, 4)) // 100 at once, 400 from 7:00
		}
	}
	failed := bookedGroup(t, 2, "broken", 10, 0)
	failed.Failed, failed.Units = true, 0
	failed.Steps[0].FailedWatts = failed.Steps[0].Watts
	unknown := bookedGroup(t, 8, "bare", 9, 0)
	unknown.Energy, unknown.Steps, unknown.SeenEnd = energy.Unknown, nil, false
	elsewhere := bookedGroup(t, 9, "island", 9, 0)
	elsewhere.Location, elsewhere.OtherLocation, elsewhere.Energy = "XX", "XX", energy.Stated
	return append(all, failed, unknown, elsewhere)
}

// actualGrid is the past of the grid: 100 gCO2eq/kWh until 6:00, and 400 after that.
func actualGrid(t *testing.T) forecast.Document {
	t.Helper()
	return provided(t, forecast.Origin{Provider: "Energy-Charts", Zone: "de", Signal: forecast.Signal{Kind: forecast.Average, EmissionFactors: forecast.LifeCycle}}, 48)
}

// booked returns the ConfigMaps with the pages of groups, as the keeper writes them, and the forecast.
func booked(t *testing.T, groups ...ledger.Group) []client.Object {
	t.Helper()
	document, now := actualGrid(t), parse(t, evening)
	actuals := func(source, location string) *forecast.Series {
		if source != gridSource().String() {
			return &forecast.Series{}
		}
		return document.Actuals[location]
	}
	objects := []client.Object{gridPolicy(), exported(t, "default", document), history.ConfigMap(gridSource(), "DE", document.Details["DE"].Origin, nil)}
	objects[2].SetNamespace("gridlatch-system")
	return append(objects, pagesOf(t, actuals, now, groups)...)
}

// pagesOf returns the ConfigMaps with the pages of groups, in order, as the keeper writes them.
func pagesOf(t *testing.T, actuals ledger.Actuals, now time.Time, groups []ledger.Group) []client.Object {
	t.Helper()
	byDay := map[string]*ledger.Page{}
	for _, g := range groups {
		name := ledger.DayOf(g.Ended)
		if byDay[name] == nil {
			byDay[name] = ledger.NewPage(name)
		}
		if !byDay[name].Book(g) {
			t.Fatalf("%s is booked already", g.UID)
		}
	}
	var objects []client.Object
	for _, name := range slices.Sorted(maps.Keys(byDay)) {
		page := byDay[name]
		page.Count(actuals, now)
		page.Settle(actuals, now)
		page.Forget(now.Add(-ledger.SettledAfter))
		encoded, err := page.Encode(actuals)
		if err != nil {
			t.Fatal(err)
		}
		written := metav1.NewTime(now.Add(-7 * time.Minute))
		objects = append(objects, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "gridlatch-system", Name: pages.ConfigMapName(name), Labels: map[string]string{pages.Label: pages.LabelDay},
				ManagedFields: []metav1.ManagedFieldsEntry{{
					Manager: "gridlatch", Operation: metav1.ManagedFieldsOperationUpdate, Time: &written,
					APIVersion: "v1", FieldsType: "FieldsV1", FieldsV1: &metav1.FieldsV1{Raw: []byte("{}")},
				}},
			},
			BinaryData: map[string][]byte{pages.DataKey: encoded},
		})
	}
	return objects
}

// hostileLedger returns the pages of a ledger of a day that is open and of one that is settled, in which all
// texts are hostile; and a page that is damaged.
func hostileLedger(t *testing.T) []client.Object {
	t.Helper()
	var groups []ledger.Group
	for _, daysAgo := range []int{1, 9} {
		g := bookedGroup(t, daysAgo, "nightly", 20, 5)
		g.UID, g.Kind, g.Namespace, g.Name, g.Owner = g.UID+hostileText, hostileText, hostileText, hostileText, hostileText
		g.Policy, g.Location, g.OtherLocation, g.Source = hostileText, hostileText, hostileText, hostileText
		groups = append(groups, g)
	}
	pagesOf := booked(t, groups...)[3:]
	damaged := pagesOf[0].DeepCopyObject().(*corev1.ConfigMap)
	damaged.Name, damaged.BinaryData = pages.ConfigMapName("2026-11-01"), map[string][]byte{pages.DataKey: []byte(hostileText)}
	origin := history.ConfigMap(forecast.Source{}, hostileText, forecast.Origin{Provider: hostileText, Zone: hostileText, Signal: forecast.Signal{Kind: forecast.Kind(hostileText)}}, nil)
	origin.Namespace = "gridlatch-system"
	return append(pagesOf, damaged, origin)
}

// writeDump writes ConfigMaps into a file, as `kubectl get configmaps -o yaml` does.
func writeDump(t *testing.T, withManagedFields bool, objects []client.Object) string {
	t.Helper()
	list := map[string]any{"apiVersion": "v1", "kind": "List", "items": []any{}}
	for _, o := range objects {
		if c, ok := o.(*corev1.ConfigMap); ok {
			c = c.DeepCopy()
			if !withManagedFields {
				c.ManagedFields = nil
			}
			c.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}
			list["items"] = append(list["items"].([]any), c)
		}
	}
	data, err := yaml.Marshal(list)
	if err != nil { // it refuses control characters
		data, err = json.Marshal(list)
	}
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ledger.yaml")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReportPrints(t *testing.T) {
	connect, _ := fakeCluster(t, booked(t, bookedGroups(t)...)...)
	for name, args := range map[string]string{
		"report":            "",
		"report-by-owner":   "--by owner,source -n batch",
		"report-by-month":   "--by month --since 2026-10-01 -o markdown",
		"report-rows":       "--since 2d --rows",
		"report-csv":        "--by location -o csv",
		"report-rows-csv":   "--since 2d --rows -o csv -n batch",
		"report-empty":      "--since 2026-01-01 --until 2026-02-01",
		"report-json":       "--since 2d -o json",
		"report-by-day":     "--since 7d --by day -n batch",
		"report-other-team": "-n nobody -o json",
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := call(t, connect, append([]string{"report"}, strings.Fields(args)...)...)
			if code != 0 || stderr != "" {
				t.Fatalf("exit code %d, stderr %s", code, stderr)
			}
			wantGolden(t, name, stdout)
		})
	}
}

func reported(t *testing.T, connect func(*env), args ...string) accounts.Report {
	t.Helper()
	code, stdout, stderr := call(t, connect, append([]string{"report", "-o", "json"}, args...)...)
	if code != 0 {
		t.Fatalf("exit code %d, stderr %s", code, stderr)
	}
	var r accounts.Report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-6*max(1, math.Abs(b)) }

// TestALossIsShownAsALoss has two groups: 3 kWh at 100 in place of 400, and 3 kWh at 400 in place of 100.
func TestALossIsShownAsALoss(t *testing.T) {
	connect, _ := fakeCluster(t, booked(t, bookedGroup(t, 5, "nightly", 20, 5), bookedGroup(t, 5, "early", 3, 4))...)
	r := reported(t, connect, "--by", "owner")
	total := r.Sections[0].Total
	if len(r.Sections) != 1 || !near(total.AvoidedGrams, 900) || !near(total.AddedGrams, 900) || !near(total.SavedGrams, 0) || !near(total.EmittedGrams, 1500) {
		t.Errorf("total %+v", total)
	}
	for _, row := range r.Sections[0].Rows {
		if want := map[string]float64{"CronJob/nightly": 900, "CronJob/early": -900}[row.Keys[accounts.Owner]]; !near(row.SavedGrams, want) {
			t.Errorf("%v: net %v, want %v", row.Keys, row.SavedGrams, want)
		}
	}
	_, stdout, _ := call(t, connect, "report", "--by", "owner")
	if !strings.Contains(stdout, "-900") || !strings.Contains(stdout, "+900") {
		t.Errorf("printed\n%s", stdout)
	}
}

func TestAuditedWorkIsInNoTotalOfOtherWork(t *testing.T) {
	connect, _ := fakeCluster(t, booked(t, bookedGroups(t)...)...)
	r := reported(t, connect)
	if len(r.Sections) != 2 || r.Sections[0].Mode != ledger.Enforce || r.Sections[1].Mode != ledger.Audit {
		t.Fatalf("sections %+v", r.Sections)
	}
	for _, row := range r.Sections[0].Rows {
		if row.Keys[accounts.Namespace] == "shop" {
			t.Error("audited work is among other work")
		}
	}
	if audited := r.Sections[1].Total; audited.Groups != reportDays || !near(audited.EmittedGrams, reportDays*1200) || !near(audited.SavedGrams, reportDays*900) {
		t.Errorf("audited %+v", audited)
	}
}

func TestFailedWorkEmitsWithoutWork(t *testing.T) {
	failed := bookedGroup(t, 5, "broken", 20, 5)
	failed.Failed, failed.Units = true, 0
	failed.Steps[0].FailedWatts = failed.Steps[0].Watts
	connect, _ := fakeCluster(t, booked(t, failed, bookedGroup(t, 5, "nightly", 20, 5))...)
	total := reported(t, connect).Sections[0].Total
	if total.FailedGroups != 1 || !near(total.FailedGrams, 300) || !near(total.EmittedGrams, 600) || total.Units != 1 || total.SCI == nil || !near(*total.SCI, 606) {
		t.Errorf("total %+v", total)
	}
}

// TestRowsOfDaysAddUpToTheTotal compares what CSV has with what JSON has.
func TestRowsOfDaysAddUpToTheTotal(t *testing.T) {
	connect, _ := fakeCluster(t, booked(t, bookedGroups(t)...)...)
	total := reported(t, connect).Sections[0].Total
	_, stdout, _ := call(t, connect, "report", "--by", "day,policy,location,owner,source,namespace", "-o", "csv")
	records, err := csv.NewReader(strings.NewReader(stdout)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	sum := map[string]float64{}
	for _, record := range records[1:] {
		if record[0] != string(ledger.Enforce) {
			continue
		}
		for i, name := range records[0] {
			var v float64
			if _, err := fmt.Sscan(record[i], &v); err == nil {
				sum[name] += v
			}
		}
	}
	for name, want := range map[string]float64{
		"groups": float64(total.Groups), "energy_kwh": total.EnergyKWh, "emitted_g": total.EmittedGrams, "avoided_g": total.AvoidedGrams,
		"added_g": total.AddedGrams, "saved_g": total.SavedGrams, "unknown_intensity_kwh": total.UnknownIntensityKWh,
	} {
		if !near(sum[name], want) {
			t.Errorf("%s: rows add up to %v, the total is %v", name, sum[name], want)
		}
	}
}

func TestAFileSaysWhatTheClusterSays(t *testing.T) {
	objects := booked(t, bookedGroups(t)...)
	connect, _ := fakeCluster(t, objects...)
	args := []string{"report", "--by", "namespace,day", "--rows", "-o", "csv"}
	_, want, _ := call(t, connect, args...)
	code, got, stderr := call(t, nil, append(args, "--ledger", writeDump(t, false, objects))...)
	if code != 0 || got != want || stderr != "" || strings.Count(got, "\n") < 5 {
		t.Errorf("exit code %d, stderr %s\nfile\n%s\ncluster\n%s", code, stderr, got, want)
	}
}

func TestADayInThePageOfItsMonthCountsOnce(t *testing.T) {
	objects := booked(t, bookedGroup(t, 5, "nightly", 20, 5))
	day := objects[len(objects)-1].(*corev1.ConfigMap)
	page, err := ledger.Decode(day.BinaryData[pages.DataKey])
	if err != nil {
		t.Fatal(err)
	}
	month := ledger.NewPage(page.Name()[:7])
	month.Merge(page)
	encoded, err := month.Encode(func(string, string) *forecast.Series { return nil })
	if err != nil {
		t.Fatal(err)
	}
	objects = append(objects, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "gridlatch-system", Name: pages.ConfigMapName(month.Name()), Labels: map[string]string{pages.Label: pages.LabelMonth},
			Annotations: map[string]string{pages.DaysAnnotation: page.Name()},
		},
		BinaryData: map[string][]byte{pages.DataKey: encoded},
	})
	connect, _ := fakeCluster(t, objects...)
	r := reported(t, connect, "--by", "day")
	if total := r.Sections[0].Total; total.Groups != 1 || r.Sections[0].Rows[0].Keys[accounts.Day] != month.Name() {
		t.Errorf("%+v", r.Sections[0])
	}
	if !strings.Contains(strings.Join(r.Claims, "\n"), "by month: "+month.Name()+" counts as a whole") {
		t.Errorf("claims %q", r.Claims)
	}
}

func TestTheReportSaysWhatItCannotClaim(t *testing.T) {
	objects := booked(t, bookedGroups(t)...)
	for _, o := range objects {
		if c, ok := o.(*corev1.ConfigMap); ok && c.Labels[pages.Label] != "" {
			written := metav1.NewTime(parse(t, evening).Add(-3 * time.Hour))
			c.ManagedFields[0].Time = &written
		}
	}
	claims := strings.Join(reported(t, nil, "--ledger", writeDump(t, true, objects)).Claims, "\n")
	for _, want := range []string{
		"The ledger was last written 3h ago", "Intensities of DE: zone de of Energy-Charts, average, life-cycle.",
		"Intensities of XX: the provider does not say whether they are average or marginal.", "An average intensity gives each consumer an equal share",
		"is measured", "is modelled from requests", "is stated by the work itself", "from 0.3 to 1.7 times",
		"Nobody knows the intensity of the grid for 4 %", "Nobody knows the energy of 1 group", "Nobody saw the end of 1 group", "groups can still change",
		"Audited work was not held.", "Failed attempts and failed work emitted ", "Nobody can reach this figure.",
	} {
		if !strings.Contains(claims, want) {
			t.Errorf("no claim %q among\n%s", want, claims)
		}
	}
}

func TestAReportWithoutItsLedger(t *testing.T) {
	damaged := booked(t, bookedGroup(t, 5, "nightly", 20, 5), bookedGroup(t, 7, "nightly", 20, 5))
	damaged[len(damaged)-1].(*corev1.ConfigMap).BinaryData[pages.DataKey] = []byte("x")
	withoutGrid := booked(t, bookedGroup(t, 1, "nightly", 20, 5))
	withoutGrid = append(withoutGrid[:1], withoutGrid[2:]...)
	file := filepath.Join(t.TempDir(), "x.yaml")
	if err := os.WriteFile(file, []byte("kind: Secret\nmetadata: {name: x}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		objects []client.Object
		args    []string
		code    int
		want    string
	}{
		"no page":            {nil, nil, 0, "warning: namespace gridlatch-system has no page of a ledger"},
		"a damaged page":     {damaged, nil, 3, "warning: a part of the ledger is left out: ConfigMap gridlatch-ledger-"},
		"no forecast":        {withoutGrid, nil, 0, "warning: the actual intensities of " + gridSource().String() + " cannot be read"},
		"a file without one": {nil, []string{"--ledger", file}, 1, "no ConfigMap has a page of the ledger: want the ConfigMaps of Gridlatch's namespace"},
		"a bad dimension":    {nil, []string{"--by", "colour"}, 2, `--by: "colour": want namespace, policy, location, owner, day, month, mode or source`},
		"a bad beginning":    {nil, []string{"--since", "long ago"}, 2, `--since "long ago": want a duration of at most 366d, an instant or a day`},
		"a bad end":          {nil, []string{"--until", "later"}, 2, `--until "later": want RFC 3339 or a day`},
		"the wrong order":    {nil, []string{"--since", "2026-11-01", "--until", "2026-10-01"}, 2, `--since "2026-11-01": want a time before 2026-10-01 00:00 UTC`},
		"a bad format":       {nil, []string{"-o", "pdf"}, 2, `--output "pdf": want table, json, csv or markdown`},
	} {
		t.Run(name, func(t *testing.T) {
			connect, _ := fakeCluster(t, tt.objects...)
			code, _, stderr := call(t, connect, append([]string{"report"}, tt.args...)...)
			if code != tt.code || !strings.Contains(stderr, tt.want) {
				t.Errorf("exit code %d, stderr %s", code, stderr)
			}
		})
	}
}

func TestWhoMayNotReadTheLedgerIsTold(t *testing.T) {
	_, api := fakeCluster(t)
	forbidden := apierrors.NewForbidden(corev1.Resource("configmaps"), "", nil)
	_, _, stderr := call(t, func(e *env) {
		e.cluster = func(connection) (*rest.Config, string, error) { return &rest.Config{}, "batch", nil }
		e.dial = func(*rest.Config) (client.Client, error) { return angry{api, forbidden}, nil }
	}, "report")
	if !strings.Contains(stderr, "ask for the right to get and list ConfigMaps in namespace gridlatch-system") {
		t.Errorf("stderr %s", stderr)
	}
}

// TestThePageNeedsNothingElse has a page with hostile names.
func TestThePageNeedsNothingElse(t *testing.T) {
	hostile := bookedGroup(t, 1, "nightly", 20, 5)
	hostile.Owner, hostile.Name = `CronJob/<script>alert(1)</script>"'><img src=https://example.com/x>`, `</td><script src="//example.com">`
	connect, _ := fakeCluster(t, booked(t, append(bookedGroups(t)[2:], hostile)...)...)
	file := filepath.Join(t.TempDir(), "report.html")
	code, stdout, stderr := call(t, connect, "report", "--by", "owner", "--rows", "--html", file)
	if code != 0 || stdout != "" || stderr != "" {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	for _, wrong := range []string{"<script", "<link", "<iframe", `src="h`, `src="/`, "url(", "@import", "ZgotmplZ", "<img src=https"} {
		if strings.Contains(page, wrong) {
			t.Errorf("the page has %q", wrong)
		}
	}
	for _, want := range []string{"default-src 'none'", "&lt;script&gt;alert(1)", "What these figures can and cannot claim"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if images := regexp.MustCompile(`<img src="data:image/svg&#43;xml;base64,[A-Za-z0-9&#;/=]+" alt=`).FindAllString(page, -1); len(images) != 4 {
		t.Errorf("%d pictures, want 2 for each mode", len(images))
	}
}

func TestASpreadsheetRunsNoFormula(t *testing.T) {
	g := bookedGroup(t, 1, "nightly", 20, 5)
	g.Owner, g.Namespace = "=HYPERLINK(1)", "@x"
	connect, _ := fakeCluster(t, booked(t, g)...)
	for _, args := range [][]string{{"--by", "owner,namespace"}, {"--rows"}} {
		_, stdout, _ := call(t, connect, append([]string{"report", "-o", "csv"}, args...)...)
		if strings.Contains(stdout, ",=") || strings.Contains(stdout, ",@") || !strings.Contains(stdout, "'=HYPERLINK(1)") {
			t.Errorf("%q: printed %s", args, stdout)
		}
	}
}
