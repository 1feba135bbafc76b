#compdef PROGRAM
# Completion of PROGRAM in zsh: the words come from `PROGRAM __complete`.

_PROGRAM()
{
    local -a lines shown
    local line word means directive
    local program=${words[1]}
    whence -p -- "$program" > /dev/null || program=PROGRAM
    lines=("${(@f)$("$program" __complete "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2> /dev/null)}")
    directive=${lines[-1]#:}
    lines[-1]=()
    [[ $directive == <-> ]] || return 1
    [[ $PREFIX == -*=* ]] && compset -P '*='
    if ((directive & 8)); then
        _files -g "*.(${(j:|:)lines})"
        return
    fi
    for line in "${(@)lines}"; do
        word=${line%%$'\t'*}
        means=
        [[ $line == *$'\t'* ]] && means=${line#*$'\t'}
        [[ -n $word ]] && shown+=("${word//:/\\:}${means:+:$means}")
    done
    if ((${#shown})); then
        if ((directive & 2)); then
            _describe -V completions shown -S '' && return
        else
            _describe -V completions shown && return
        fi
    fi
    ((directive & 4)) || _files
}

if [[ ${funcstack[1]} == _PROGRAM ]]; then
    _PROGRAM "$@"
else
    compdef _PROGRAM PROGRAM
fi
