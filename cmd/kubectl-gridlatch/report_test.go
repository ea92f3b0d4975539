package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/accounts"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/ledger"
	"github.com/gridlatch/gridlatch/ledger/pages"
)

func TestReportPrints(t *testing.T) {
	connect, _ := fakeCluster(t, counted(t, booked(t, bookedGroups(t)...))...)
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

// TestALossIsShownAsALoss has two groups: 3 kWh at 100 in place of 400, and 3 kWh at 400 in place
// of 100.
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

func TestTheSharesOfTheClusterAddUpOverDays(t *testing.T) {
	atOnce := bookedGroup(t, 9, "early", 3, 0)
	connect, _ := fakeCluster(t, counted(t, booked(t, bookedGroup(t, 5, "nightly", 20, 5), bookedGroup(t, 7, "nightly", 20, 5), atOnce))...)
	r := reported(t, connect)
	c, total := r.Census, r.Sections[0].Total
	if c == nil || c.Samples != 72 || !near(c.CoreHours, 7200) || !near(*c.ElasticPercent, 30) || !near(*c.HeldPercent, 40) {
		t.Errorf("census %+v", c)
	}
	if !near(total.AtOnceCoreHours(), 3) || !near(total.HeldCoreHours, 6) || !near(*total.AtOncePercent(), 100.0/3) {
		t.Errorf("%v of %v core-hours waited", total.HeldCoreHours, total.CoreHours)
	}
	if claims := strings.Join(r.Claims, "\n"); !strings.Contains(claims, "is known from 72 counts") || strings.Contains(claims, "nobody has counted") {
		t.Errorf("claims %s", claims)
	}
}

// TestWorkThatStartedAtOnceShowsWhatItMissed has work that came in the dirty evening and did not wait. The
// best start was five hours later.
func TestWorkThatStartedAtOnceShowsWhatItMissed(t *testing.T) {
	connect, _ := fakeCluster(t, booked(t, bookedGroup(t, 5, "hasty", 20, 0), bookedGroup(t, 6, "nightly", 20, 5))...)
	if total := reported(t, connect).Sections[0].Total; !near(total.UnheldOracleSavedGrams, 900) || !near(total.OracleSavedGrams, 1800) {
		t.Errorf("missed %v of %v", total.UnheldOracleSavedGrams, total.OracleSavedGrams)
	}
	_, stdout, _ := call(t, connect, "report")
	if !regexp.MustCompile(`by Gridlatch's decisions +6\.00 +3\.00 +50\.0 % +900\n`).MatchString(stdout) {
		t.Errorf("printed\n%s", stdout)
	}
}

func TestAReportOfOneNamespaceHasNoSharesOfTheCluster(t *testing.T) {
	connect, _ := fakeCluster(t, counted(t, booked(t, bookedGroup(t, 5, "nightly", 20, 5)))...)
	r := reported(t, connect, "-n", "batch")
	_, stdout, _ := call(t, connect, "report", "-n", "batch")
	if said := strings.Join(r.Claims, "\n") + stdout; r.Census != nil || strings.Contains(said, "cluster") {
		t.Errorf("census %+v, said %s", r.Census, said)
	}
}

func TestAReportWithoutACensusSaysSo(t *testing.T) {
	for name, objects := range map[string][]client.Object{"pages": booked(t, bookedGroup(t, 5, "nightly", 20, 5)), "no page": nil} {
		connect, _ := fakeCluster(t, objects...)
		_, stdout, _ := call(t, connect, "report")
		if !strings.Contains(stdout, "is not known: nobody has counted the pods in this time.") || strings.Contains(stdout, "all that ran") {
			t.Errorf("%s: printed\n%s", name, stdout)
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
			Namespace: "gridlatch-system", Name: pages.ConfigMapName(month.Name()), Labels: map[string]string{pages.Label: "month"},
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
	if !strings.Contains(stderr, "ask for the Role gridlatch-report-reader in namespace gridlatch-system") {
		t.Errorf("stderr %s", stderr)
	}
}

// TestThePageNeedsNothingElse has a page with hostile names.
func TestThePageNeedsNothingElse(t *testing.T) {
	hostile := bookedGroup(t, 1, "nightly", 20, 5)
	hostile.Owner, hostile.Name = `CronJob/<script>alert(1)</script>"'><img src=https://example.com/x>`, `</td><script src="//example.com">`
	connect, _ := fakeCluster(t, counted(t, booked(t, append(bookedGroups(t)[2:], hostile)...))...)
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
	for _, want := range []string{"default-src 'none'", "&lt;script&gt;alert(1)", "What these figures can and cannot claim", "Shares that matter", "of these, could wait"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if images := regexp.MustCompile(`<img src="data:image/svg\+xml;base64,[A-Za-z0-9&#;+/=]+" alt=`).FindAllString(page, -1); len(images) != 4 {
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
