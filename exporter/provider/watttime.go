package provider

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

const (
	wattTimeURL = "https://api.watttime.org"
	// wattTimeTokenLife is how long a token is used. The server accepts it for 30 minutes.
	wattTimeTokenLife = 25 * time.Minute
	// wattTimeLogInPause is how long nobody logs in again after the server has refused a password, or a
	// new token. The server allows 100 log-ins in five minutes. Many zones would try more often.
	wattTimeLogInPause = 5 * time.Minute
	// wattTimePage is how much of the past one request may ask for: the server allows 32 days.
	wattTimePage = 30 * 24 * time.Hour
	// gramsPerPound divided by kilowatt-hours per megawatt-hour makes g/kWh of lbs/MWh.
	gramsPerPound, kWhPerMWh = 453.59237, 1000
)

// A wattTime asks WattTime (watttime.org), version 3 of its API. Zones are its regions: CAISO_NORTH.
type wattTime struct {
	client *client
	base   string
	user   Secret
	pass   Secret
	signal forecast.Signal
	now    func() time.Time
	// turn holds a value while somebody reads or writes the token.
	turn  chan struct{}
	token token
}

// A token is what a log-in gives. Many zones share it.
type token struct {
	text    Secret
	refusal error // of the password, in place of a text
	made    time.Time
}

func wattTimeLimit() Limit { return Limit{3000, 5 * time.Minute, true} }

func newWattTime(c Config) (Provider, error) {
	base, err := c.baseURL(wattTimeURL)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(c.Credentials.User.check("user"), c.Credentials.Password.check("password")); err != nil {
		return nil, err
	}
	signal, err := c.signal(forecast.Signal{Kind: forecast.Marginal, EmissionFactors: forecast.Direct}, forecast.Signal{Kind: forecast.Average, EmissionFactors: forecast.Direct})
	if err != nil {
		return nil, err
	}
	client, err := newClient(c.Options, wattTimeLimit())
	return &wattTime{
		client: client, base: base, user: c.Credentials.User, pass: c.Credentials.Password, signal: signal, now: c.Options.Now,
		turn: make(chan struct{}, 1),
	}, err
}

// Describe says that both forecasts and the past depend on the plan: a new account has one region.
// Average intensities have no forecasts, and come hourly. Whether a licence demands a sentence is a
// matter of the customer's contract.
func (p *wattTime) Describe() Description {
	d := Description{
		Type: TypeWattTime, Source: "WattTime", Attribution: "Data: WattTime (watttime.org)",
		Signal: p.signal, Forecasts: DependsOnPlan, History: DependsOnPlan, Rhythm: 5 * time.Minute, Limit: wattTimeLimit(), Page: wattTimePage,
	}
	if p.signal.Kind == forecast.Average {
		d.Forecasts, d.Rhythm = Unavailable, time.Hour
	}
	return d
}

// signalType names the signal as WattTime does.
func (p *wattTime) signalType() string {
	if p.signal.Kind == forecast.Average {
		return "co2_aoer"
	}
	return "co2_moer"
}

// Forecast asks for three days.
func (p *wattTime) Forecast(ctx context.Context, zone string) (Reading, error) {
	if p.signal.Kind == forecast.Average {
		return Reading{}, fmt.Errorf("zone %.40q: forecast of the average by WattTime: %w", zone, ErrUnavailable)
	}
	t, err := p.series(ctx, zone, "/v3/forecast", url.Values{"horizon_hours": {"72"}})
	if err != nil {
		return Reading{}, err
	}
	return t.forecastReading(zone, p.signal, 0, p.now())
}

// Past asks for 30 days at a time.
func (p *wattTime) Past(ctx context.Context, zone string, from, to time.Time) (Reading, error) {
	wanted := pastSpan(from, to, p.now())
	if wanted.isEmpty() {
		return Reading{Zone: zone, Signal: p.signal}, nil
	}
	t, err := wanted.judged().inPages(ctx, wattTimePage, func(ctx context.Context, s span) (tally, error) {
		return p.series(ctx, zone, "/v3/historical", url.Values{"start": {s.from.Format(time.RFC3339)}, "end": {s.to.Format(time.RFC3339)}})
	})
	if err != nil {
		return Reading{}, err
	}
	return t.pastReading(zone, p.signal, 0, wanted)
}

// Zone returns the region in which a place is: of the regions of clouds, those without a region of
// WattTime.
func (p *wattTime) Zone(ctx context.Context, latitude, longitude float64) (string, error) {
	query := url.Values{
		"latitude":    {strconv.FormatFloat(latitude, 'f', -1, 64)},
		"longitude":   {strconv.FormatFloat(longitude, 'f', -1, 64)},
		"signal_type": {p.signalType()},
	}
	body, err := p.get(ctx, "/v3/region-from-loc", query)
	if err != nil {
		return "", err
	}
	var answer struct{ Region string }
	if err := decode(body, &answer); err != nil {
		return "", err
	}
	if answer.Region == "" {
		return "", fmt.Errorf("%w: no region", ErrUnreadable)
	}
	return answer.Region, nil
}

// series asks for values of a zone.
func (p *wattTime) series(ctx context.Context, zone, path string, query url.Values) (tally, error) {
	query.Set("region", zone)
	query.Set("signal_type", p.signalType())
	body, err := p.get(ctx, path, query)
	if err != nil {
		return tally{}, fmt.Errorf("zone %.40q: %w", zone, err)
	}
	t, err := parseWattTime(body, zone, p.signalType())
	if err != nil {
		return tally{}, fmt.Errorf("zone %.40q: %s of WattTime: %w", zone, path, err)
	}
	return t, nil
}

// get sends a request with a token. A token that is not accepted is replaced once.
func (p *wattTime) get(ctx context.Context, path string, query url.Values) ([]byte, error) {
	token, err := p.logIn(ctx, Secret{})
	if err != nil {
		return nil, err
	}
	body, err := p.getWith(ctx, token, path, query)
	if !errors.Is(err, ErrRefusedKey) {
		return body, err
	}
	if token, err = p.logIn(ctx, token); err != nil {
		return nil, err
	}
	return p.getWith(ctx, token, path, query)
}

func (p *wattTime) getWith(ctx context.Context, token Secret, path string, query url.Values) ([]byte, error) {
	return p.client.get(ctx, request{
		url:     p.base + path + "?" + query.Encode(),
		header:  http.Header{"Authorization": {"Bearer " + token.reveal()}},
		secrets: []Secret{token, p.user, p.pass},
	})
}

// logIn returns a token: a new one if the last one is too old, or is the one that the server has
// refused.
func (p *wattTime) logIn(ctx context.Context, refused Secret) (Secret, error) {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return Secret{}, fmt.Errorf("wait for the log-in to WattTime: %w", ctx.Err())
	}
	if text, isKnown, err := p.token.answer(refused, p.now()); isKnown {
		return text, err
	}
	text, err := p.newToken(ctx)
	if err == nil || errors.Is(err, ErrRefusedKey) {
		p.token = token{text: text, refusal: err, made: p.now()}
	}
	return text, err
}

// answer returns the text, or an error if it is too early to log in again. isKnown is false if it is
// time to log in.
func (t token) answer(refused Secret, now time.Time) (text Secret, isKnown bool, err error) {
	age := now.Sub(t.made)
	if age < 0 { // the clock was ahead: the token may be of any age
		return Secret{}, false, nil
	}
	isRefused := t.text.reveal() == refused.reveal()
	switch {
	case t.refusal != nil:
		return Secret{}, age < wattTimeLogInPause, t.refusal
	case isRefused && !refused.IsEmpty() && age < wattTimeLogInPause:
		return Secret{}, true, fmt.Errorf("WattTime refuses a token of %v: %w", age.Round(time.Second), ErrRefusedKey)
	}
	return t.text, !isRefused && age < wattTimeTokenLife, nil
}

// newToken logs in.
func (p *wattTime) newToken(ctx context.Context) (Secret, error) {
	basic := NewSecret(base64.StdEncoding.EncodeToString([]byte(p.user.reveal() + ":" + p.pass.reveal())))
	body, err := p.client.get(ctx, request{
		url:     p.base + "/login",
		header:  http.Header{"Authorization": {"Basic " + basic.reveal()}},
		secrets: []Secret{basic, p.pass, p.user},
	})
	if err != nil {
		return Secret{}, fmt.Errorf("log in to WattTime: %w", err)
	}
	var answer struct{ Token string }
	if err := decode(body, &answer); err != nil {
		return Secret{}, fmt.Errorf("log in to WattTime: %w", err)
	}
	text := NewSecret(answer.Token)
	if err := text.check("token"); err != nil {
		return Secret{}, fmt.Errorf("log in to WattTime: %w: %w", ErrUnreadable, err)
	}
	return text, nil
}

// A wattTimeMeta says what the values of a response are.
type wattTimeMeta struct {
	Region      string
	SignalType  string `json:"signal_type"`
	Units       string
	GeneratedAt string  `json:"generated_at"`
	Seconds     float64 `json:"data_point_period_seconds"`
}

// check returns an error if the values are not those that were asked for; "" stands for any.
func (m wattTimeMeta) check(zone, signalType string) error {
	switch {
	case m.Units != "lbs_co2_per_mwh":
		return fmt.Errorf("%w: meta.units: %.40q: want lbs_co2_per_mwh", ErrUnreadable, m.Units)
	case zone != "" && m.Region != "" && m.Region != zone:
		return fmt.Errorf("%w: meta.region: %.40q: want %.40q", ErrUnreadable, m.Region, zone)
	case signalType != "" && m.SignalType != "" && m.SignalType != signalType:
		return fmt.Errorf("%w: meta.signal_type: %.40q: want %s", ErrUnreadable, m.SignalType, signalType)
	}
	return nil
}

// parseWattTime reads a forecast or a past. The zone and the signal are those that were asked for;
// "" stands for any.
func parseWattTime(body []byte, zone, signalType string) (tally, error) {
	var document struct {
		Data list
		Meta wattTimeMeta
	}
	if err := decode(body, &document); err != nil {
		return tally{}, err
	}
	if document.Data == nil {
		return tally{}, fmt.Errorf("%w: no data", ErrUnreadable)
	}
	if err := document.Meta.check(zone, signalType); err != nil {
		return tally{}, err
	}
	t := tally{issued: instantOf(document.Meta.GeneratedAt)}
	if seconds := document.Meta.Seconds; seconds >= 1 && seconds <= maxSlotWidth.Seconds() {
		t.width = time.Duration(seconds * float64(time.Second))
	}
	for _, raw := range document.Data {
		t.addWattTime(raw)
	}
	return t, nil
}

func (t *tally) addWattTime(raw json.RawMessage) {
	var e struct {
		PointTime string `json:"point_time"`
		Value     json.RawMessage
	}
	if err := json.Unmarshal(raw, &e); err != nil {
		t.elements++
		t.reject(err)
		return
	}
	t.addPoint(e.PointTime, e.Value, gramsPerPound/kWhPerMWh)
}

// instantOf reads an instant that a provider may leave out; then it is the zero time.
func instantOf(text string) time.Time {
	if t, err := forecast.ParseTime(text); err == nil {
		return t
	}
	return time.Time{}
}
