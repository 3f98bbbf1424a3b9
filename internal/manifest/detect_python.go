package manifest

import (
	"path"
	"regexp"
	"strings"

	"github.com/springtide/springtide"
)

var (
	pythonApp      = regexp.MustCompile(`(?m)^([A-Za-z_]\w*)\s*(?::[^=\n]+)?=\s*(?:\w+\.)?(Flask|FastAPI)\(`)
	pythonFactory  = regexp.MustCompile(`(?m)^def create_app\(`)
	pythonRequired = regexp.MustCompile(`(?m)^\s*[A-Za-z0-9-]`)
)

// detectDeclaredPython finds an app that says what packages it needs.
func detectDeclaredPython(s source) (language, bool) {
	from := s.firstOf("manage.py", "requirements.txt", "Pipfile", "pyproject.toml")
	if from == "" {
		return language{}, false
	}
	return detectPython(s, from)
}

// detectPlainPython finds an app that needs nothing but Python.
func detectPlainPython(s source) (language, bool) {
	from := s.firstOf("app.py", "server.py", "main.py", "wsgi.py")
	if from == "" {
		return language{}, false
	}
	return detectPython(s, from)
}

func detectPython(s source, from string) (language, bool) {
	l := newLanguage(from, "a Python app")
	install, declared := pythonPackages(s)
	python := "python3"
	if install != "" {
		python = ".venv/bin/python"
		l.adapt = adaptPython
		l.build("python3 -m venv .venv && "+install,
			"The packages go into a virtual environment within the app. Its programs are run as\n"+
				"modules (.venv/bin/python -m ...), since the app runs in another folder than it is built in.")
	}
	needs := func(pack string) bool {
		return regexp.MustCompile(`(?mi)(^|[\s"'=\[])` + regexp.QuoteMeta(pack) + `([\s"'=<>~!;,\[\]@]|$)`).MatchString(declared)
	}
	if !l.runDjango(s, python, needs) && !l.runFramework(s, python, needs) {
		file := s.firstOf("app.py", "server.py", "main.py", "wsgi.py")
		if file == "" {
			return language{}, false
		}
		l.run(name(springtide.Web), python+" "+file, "")
	}
	l.env("PYTHONUNBUFFERED", "1")
	l.comment("env", "Output is logged as it is written.")
	l.probe(s.code(".py"))
	return l, true
}

// pythonPackages gives the command that installs what is declared, and the
// declaration.
func pythonPackages(s source) (install, declared string) {
	requirements, project, pipfile := s.text("requirements.txt"), s.text("pyproject.toml"), s.text("Pipfile")
	declared = requirements + "\n" + project + "\n" + pipfile
	switch {
	case pythonRequired.MatchString(requirements):
		return ".venv/bin/python -m pip install -r requirements.txt", declared
	case strings.Contains(project, "[project]") || strings.Contains(project, "[tool.poetry]"):
		return ".venv/bin/python -m pip install .", declared
	case pipfile != "":
		return ". .venv/bin/activate && pip install pipenv && pipenv install --deploy", declared
	}
	return "", declared
}

func (l *language) runDjango(s source, python string, needs func(string) bool) bool {
	if !s.has("manage.py") {
		return false
	}
	l.Found = []string{"a Django app"}
	project := ""
	for _, folder := range s.folders(".") {
		if s.has(path.Join(folder, "wsgi.py")) {
			project = folder
		}
	}
	if project != "" && needs("gunicorn") {
		l.run(name(springtide.Web), python+" -m gunicorn --bind 0.0.0.0:$PORT "+project+".wsgi", "")
	} else {
		l.run(name(springtide.Web), python+" manage.py runserver --noreload 0.0.0.0:$PORT",
			"Django's own server is for development; add gunicorn to the packages for real traffic.")
	}
	l.document.Release = setTo(command(python + " manage.py migrate --noinput"))
	return true
}

// runFramework runs a Flask or FastAPI app by the server that it needs.
func (l *language) runFramework(s source, python string, needs func(string) bool) bool {
	web := name(springtide.Web)
	for _, file := range []string{"app.py", "main.py", "server.py", "wsgi.py", "app/main.py", "app/__init__.py", "src/main.py", "src/app.py"} {
		code := s.text(file)
		module := strings.TrimSuffix(strings.ReplaceAll(strings.TrimSuffix(file, ".py"), "/", "."), ".__init__")
		variable, framework := "", ""
		if found := pythonApp.FindStringSubmatch(code); found != nil {
			variable, framework = found[1], found[2]
		} else if pythonFactory.MatchString(code) && needs("flask") {
			variable, framework = "create_app()", "Flask"
		}
		switch {
		case framework == "FastAPI":
			l.run(web, python+" -m uvicorn "+module+":"+variable+" --host 0.0.0.0 --port $PORT", "")
			if !needs("uvicorn") && !strings.Contains(strings.ToLower(s.text("requirements.txt")+s.text("pyproject.toml")), "fastapi[") {
				l.comment("processes.web.command", "Add uvicorn to the app's packages.")
			}
		case framework == "Flask" && needs("gunicorn"):
			l.run(web, python+" -m gunicorn --bind 0.0.0.0:$PORT "+quoteShell(module+":"+variable), "")
		case framework == "Flask":
			l.run(web, python+" -m flask --app "+quoteShell(module+":"+variable)+" run --host 0.0.0.0 --port $PORT",
				"Flask's own server is for development; add gunicorn to the packages for real traffic.")
		default:
			continue
		}
		l.Found = []string{"a " + framework + " app in " + file}
		return true
	}
	return false
}

// adaptPython makes a command use the virtual environment. A program of its is
// run as a module: the first line of its script names the folder of the build.
func adaptPython(command string) string {
	word, rest := firstWord(command)
	switch word {
	case "python", "python3":
		return ".venv/bin/python" + rest
	case "gunicorn", "uvicorn", "hypercorn", "flask", "celery", "daphne":
		return ".venv/bin/python -m " + command
	}
	return withPath(".venv/bin", command)
}
