// Command api is the lab's demo of the application that the platform serves: it writes a row to its Postgres and a key to its Redis
// at each request, and says so. Each setting is an environment variable or a file of that name, as the inventory's config_as says.
//
// `api migrate` makes its table and ends. The settings DEMO_* make a bad release of it (faults.go).
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
)

const (
	undefinedTable = "42P01"
	create         = `create table if not exists visits (id bigint generated always as identity primary key, seen timestamptz not null default now())`
)

// where the platform mounts the names that are files
var folders = []string{"/etc/shaka-api", "/run/secrets/shaka-api"}

type app struct {
	database                   *pgxpool.Pool
	cache                      *redis.Client
	environment, version, name string // the last is the database's
	prefix                     string
	leaving                    atomic.Bool
}

// setting is the value of a name, as a variable or as a file; empty when there is none.
func setting(name string) string {
	if value, ok := os.LookupEnv(name); ok {
		return value
	}
	for _, folder := range folders {
		if text, err := os.ReadFile(filepath.Join(folder, name)); err == nil {
			return string(text)
		}
	}
	return ""
}

func main() {
	database := url.URL{Scheme: "postgres", User: url.UserPassword(setting("DB_USER"), setting("DB_PASSWORD")),
		Host: setting("DB_HOST") + ":" + cmp.Or(setting("DB_PORT"), "5432"), Path: setting("DB_NAME"), RawQuery: "pool_max_conns=4&connect_timeout=5"}
	pool, err := pgxpool.New(context.Background(), database.String())
	if err != nil {
		log.Fatal("the database's address cannot be read") // the error would show the password
	}
	number, err := strconv.Atoi(cmp.Or(setting("REDIS_DB"), "0"))
	if err != nil {
		log.Fatal("REDIS_DB is not a number")
	}
	a := &app{database: pool, environment: setting("NODE_ENV"), version: setting("VERSION"), name: setting("DB_NAME"),
		prefix: setting("REDIS_KEY_PREFIX"), cache: redis.NewClient(&redis.Options{
			Addr: setting("REDIS_HOST") + ":" + cmp.Or(setting("REDIS_PORT"), "6379"), Username: setting("REDIS_USERNAME"),
			Password: setting("REDIS_PASSWORD"), DB: number,
		})}
	if len(os.Args) > 1 && os.Args[1] == "migrate" {
		a.migrate()
		return
	}
	f := faults()
	f.atStart()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", f.unready(a.ready))
	mux.HandleFunc("GET /{$}", f.failing(a.visit))
	mux.HandleFunc("GET /hello", f.failing(a.hello))
	streams(mux)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true) // gRPC, where the inventory's protocol is h2c
	server := &http.Server{Addr: ":" + cmp.Or(setting("PORT"), "3000"), Handler: mux, Protocols: protocols, ReadHeaderTimeout: 10 * time.Second}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		<-ctx.Done()
		a.leaving.Store(true)
		deadline, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = server.Shutdown(deadline)
	}()
	log.Printf("api %s listens on %s", a.version, server.Addr)
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		log.Fatal(err)
	}
	pool.Close()
}

// ready answers 200 only while both Postgres and Redis do, and no more once the pod is leaving.
func (a *app) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	switch {
	case a.leaving.Load():
		http.Error(w, "leaving", http.StatusServiceUnavailable)
	case a.database.Ping(ctx) != nil:
		http.Error(w, "Postgres does not answer", http.StatusServiceUnavailable)
	case a.cache.Ping(ctx).Err() != nil:
		http.Error(w, "Redis does not answer", http.StatusServiceUnavailable)
	default:
		_, _ = w.Write([]byte("ready\n"))
	}
}

// hello costs next to nothing, for what is measured at the edge.
func (a *app) hello(w http.ResponseWriter, _ *http.Request) {
	pod, _ := os.Hostname()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"version": a.version, "pod": pod})
}

func (a *app) visit(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	rows, last, err := a.insert(ctx)
	if err != nil {
		log.Print("Postgres: ", err)
		http.Error(w, "Postgres: "+err.Error(), http.StatusBadGateway)
		return
	}
	key, value := a.prefix+"last-visit", time.Now().UTC().Format(time.RFC3339)
	if err := a.cache.Set(ctx, key, value, time.Hour).Err(); err != nil {
		log.Print("Redis: ", err)
		http.Error(w, "Redis: "+err.Error(), http.StatusBadGateway)
		return
	}
	pod, _ := os.Hostname()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"environment": a.environment, "version": a.version, "pod": pod, "client": cmp.Or(r.Header.Get("X-Forwarded-For"), r.RemoteAddr),
		"postgres": map[string]any{"database": a.name, "rows": rows, "last": last}, "redis": map[string]any{"key": key, "value": value},
	})
}

// migrate makes the table, as a release's migration does before its pods start.
func (a *app) migrate() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if setting("DEMO_MIGRATION") == "fails" {
		log.Fatal("migration: column \"visits.colour\" does not exist")
	}
	if _, err := a.database.Exec(ctx, create); err != nil {
		log.Fatal("migration: ", err)
	}
	log.Printf("migration to version %s done", a.version)
}

// insert adds a row and returns how many there are; it makes the table when there is none.
func (a *app) insert(ctx context.Context) (rows int64, last time.Time, err error) {
	const add = `with added as (insert into visits default values returning seen) select 1 + (select count(*) from visits), seen from added`
	err = a.database.QueryRow(ctx, add).Scan(&rows, &last)
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == undefinedTable {
		// two pods may do so at once: who comes second is refused, and finds the table
		_, _ = a.database.Exec(ctx, create)
		err = a.database.QueryRow(ctx, add).Scan(&rows, &last)
	}
	return rows, last, err
}
