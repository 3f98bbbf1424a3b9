package manifest

import "github.com/springtide/springtide"

// parseAppJSON reads what Heroku's app.json says that is not said by a Procfile:
// the name, the environment, how many instances there are and, as Dokku has it,
// what runs at certain times.
func parseAppJSON(file string, data []byte) (*document, []Notice, problems) {
	root, found := parseJSON(file, data)
	written := &document{At: position{file, 1, 1}}
	if root == nil || root.kind != mapping {
		if len(found) == 0 {
			found.add(position{file, 1, 1}, "want an object, like {\"name\": \"quiz\"}")
		}
		return written, nil, found
	}
	a := appJSON{document: written, problems: found}
	if title := root.get("name"); title != nil {
		if named := asName(title.string()); named != "" {
			written.App = setAt(named, title.at)
		} else {
			a.problems.add(title.at, "name: %s cannot be made the name of an app", title.shown())
		}
	}
	a.readEnv(root.get("env"))
	a.readFormation(root.get("formation"))
	a.readCron(root.get("cron"))
	if script := root.get("scripts").get("postdeploy"); script != nil {
		// It runs once in an app's life, which a release command does not.
		a.notices = append(a.notices, notice(script.at, "scripts.postdeploy: not carried out by this version; run it once with `tide run`"))
	}
	if addons := root.get("addons"); addons != nil {
		a.notices = append(a.notices, notice(addons.at, "addons: not carried out by this version"))
	}
	return written, a.notices, a.problems
}

// appJSON is a document in the making.
type appJSON struct {
	document *document
	notices  []Notice
	problems problems
}

func (a *appJSON) readEnv(env *node) {
	if env == nil {
		return
	}
	if env.kind != mapping {
		a.problems.add(env.at, "env: want an object, got %s", env.shown())
		return
	}
	a.document.Env = map[variable]set[content]{}
	for _, e := range env.entries {
		var key variable
		if err := key.parse(&node{kind: text, text: e.key}); err != nil {
			if e.key == "PORT" {
				continue // the platform sets it, as Heroku does
			}
			a.problems.add(e.at, "env: %v", err)
			continue
		}
		value := e.value
		if value.kind == mapping {
			if value.get("generator") != nil {
				a.notices = append(a.notices, notice(e.at, "env.%s: a generated secret is not carried out by this version; set it with `tide config set %s=...`", key, key))
				continue
			}
			value = value.get("value")
		}
		var written content
		switch {
		case value == nil || value.kind == nothing:
			a.notices = append(a.notices, notice(e.at, "env.%s has no value; set it with `tide config set %s=...`", key, key))
		case written.parse(value) != nil:
			a.problems.add(value.at, "env.%s: %v", key, written.parse(value))
		default:
			a.document.Env[key] = setAt(written, value.at)
		}
	}
}

func (a *appJSON) readFormation(formation *node) {
	if formation == nil {
		return
	}
	if formation.kind != mapping {
		a.problems.add(formation.at, "formation: want an object, got %s", formation.shown())
		return
	}
	a.document.Processes = map[name]*processSection{}
	for _, e := range formation.entries {
		process := asName(e.key)
		quantity := e.value.get("quantity")
		if process == "" || quantity == nil {
			continue
		}
		var least count
		if err := least.parse(quantity); err != nil || least < 0 || least > springtide.MostInstances {
			a.problems.add(quantity.at, "formation.%s.quantity: want a whole number from 0 to 10000, got %s", e.key, quantity.shown())
			continue
		}
		a.document.Processes[process] = &processSection{At: e.at, Scale: &scaleSection{At: e.at, Min: setAt(least, quantity.at)}}
	}
}

func (a *appJSON) readCron(tasks *node) {
	if tasks == nil {
		return
	}
	if tasks.kind != list {
		a.problems.add(tasks.at, "cron: want a list, got %s", tasks.shown())
		return
	}
	a.document.Schedules = map[name]*scheduleSection{}
	for _, task := range tasks.items {
		run, times := task.get("command"), task.get("schedule")
		if run == nil || times == nil {
			a.problems.add(task.at, "cron: want an object with command and schedule, got %s", task.shown())
			continue
		}
		schedule := &scheduleSection{At: task.at}
		for _, field := range []struct {
			key   string
			value scalarField
			from  *node
		}{{"command", &schedule.Command, run}, {"schedule", &schedule.Cron, times}} {
			if err := field.value.parse(field.from); err != nil {
				a.problems.add(field.from.at, "cron.%s: %v", field.key, err)
			}
		}
		a.document.Schedules[scheduleName(string(schedule.Command.Value), a.document.Schedules)] = schedule
	}
}
