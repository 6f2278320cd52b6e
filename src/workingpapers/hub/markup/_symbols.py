r"""Tables: commands that are a character, accents, escaped signs, and commands that make markup."""

from __future__ import annotations

_GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "zeta": "ζ", "eta": "η", "theta": "θ", "iota": "ι", "kappa": "κ",
    "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ", "upsilon": "υ", "phi": "φ", "chi": "χ",
    "psi": "ψ", "omega": "ω", "Gamma": "Γ", "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ", "Xi": "Ξ", "Pi": "Π", "Sigma": "Σ", "Upsilon": "Υ",
    "Phi": "Φ", "Psi": "Ψ", "Omega": "Ω",
}

LETTERS = {"ss": "ß", "L": "Ł", "l": "ł", "O": "Ø", "o": "ø", "AE": "Æ", "ae": "æ", "OE": "Œ", "oe": "œ", "AA": "Å", "aa": "å",
           "i": "ı", "j": "ȷ", "DH": "Ð", "dh": "ð", "TH": "Þ", "th": "þ", "DJ": "Đ", "dj": "đ", "NG": "Ŋ", "ng": "ŋ"}
"""Letters: TeX eats the blank after them, and a name written with one means that."""

SYMBOLS = {
    **LETTERS, **_GREEK, "varepsilon": "ε", "vartheta": "ϑ", "varphi": "φ", "ell": "ℓ", "hbar": "ℏ",
    "textgreater": ">", "textless": "<", "textasciitilde": "~", "textasciicircum": "^", "textbackslash": "\\", "textbar": "|",
    "textunderscore": "_", "textbraceleft": "{", "textbraceright": "}", "textdollar": "$", "textendash": "–", "textemdash": "—",
    "textquoteleft": "‘", "textquoteright": "’", "textquotedblleft": "“", "textquotedblright": "”", "textregistered": "®",
    "texttrademark": "™", "textcopyright": "©", "copyright": "©", "pounds": "£", "textsterling": "£", "euro": "€", "texteuro": "€",
    "textdegree": "°", "degree": "°", "textmu": "µ", "textpm": "±", "texttimes": "×", "S": "§", "P": "¶", "dag": "†", "ddag": "‡",
    "ldots": "…", "dots": "…", "textellipsis": "…", "cdots": "⋯", "textbullet": "•", "bullet": "•", "cdot": "·", "times": "×", "pm": "±",
    "mp": "∓", "div": "÷", "leq": "≤", "le": "≤", "geq": "≥", "ge": "≥", "neq": "≠", "ne": "≠", "approx": "≈", "sim": "∼", "simeq": "≃",
    "equiv": "≡", "propto": "∝", "infty": "∞", "in": "∈", "notin": "∉", "subset": "⊂", "subseteq": "⊆", "cup": "∪", "cap": "∩",
    "to": "→", "rightarrow": "→", "leftarrow": "←", "Rightarrow": "⇒", "leftrightarrow": "↔", "mapsto": "↦", "forall": "∀", "exists": "∃",
    "nabla": "∇", "partial": "∂", "sum": "∑", "prod": "∏", "int": "∫", "ll": "≪", "gg": "≫", "lesssim": "≲", "gtrsim": "≳",
    "circ": "∘", "star": "⋆", "oplus": "⊕", "otimes": "⊗", "wedge": "∧", "vee": "∨", "neg": "¬", "emptyset": "∅",
    "langle": "⟨", "rangle": "⟩", "lfloor": "⌊", "rfloor": "⌋", "lceil": "⌈", "rceil": "⌉", "prime": "′", "log": "log", "exp": "exp",
    "min": "min", "max": "max", "quad": "\u2003", "qquad": "\u2003\u2003", "noindent": "", "par": " ", "newline": " ", "linebreak": " ",
    "LaTeX": "LaTeX", "TeX": "TeX", "BibTeX": "BibTeX", "centering": "", "smallskip": " ", "medskip": " ", "bigskip": " ", "xspace": "",
}

SIGNS = {"%": "%", "&": "&", "#": "#", "_": "_", "{": "{", "}": "}", "$": "$", " ": " ", "\n": " ", "\\": " ", ",": "\u2009", ";": "\u2005",
         ":": "\u2005", "!": "", "-": "", "/": "", "@": "", "+": "+", "*": "*"}

ACCENTS = {"'": "\u0301", "`": "\u0300", "^": "\u0302", '"': "\u0308", "~": "\u0303", "=": "\u0304", ".": "\u0307", "u": "\u0306",
           "v": "\u030c", "H": "\u030b", "c": "\u0327", "k": "\u0328", "d": "\u0323", "b": "\u0331", "r": "\u030a"}

TAGS = {"emph": "em", "textit": "em", "textsl": "em", "textbf": "strong", "texttt": "code", "textsc": "", "textrm": "", "textsf": "",
        "textup": "", "textmd": "", "textnormal": "", "text": "", "mbox": "", "underline": "em", "uline": "em", "enquote": "",
        "textsubscript": "", "mathrm": "", "ensuremath": ""}
"""Commands with one argument, and the element they make; none for those that only change letters."""

DECLARATIONS = {"em": "em", "it": "em", "itshape": "em", "sl": "em", "slshape": "em", "bf": "strong", "bfseries": "strong", "tt": "code",
                "ttfamily": "code", "sc": "", "scshape": "", "rm": "", "sf": "", "normalfont": "", "small": "", "large": "", "color": ""}
"""Commands at the beginning of a group, as in `{\\em this}`."""

SUPERSCRIPTS = {"0": "⁰", "1": "¹", "2": "²", "3": "³", "4": "⁴", "5": "⁵", "6": "⁶", "7": "⁷", "8": "⁸", "9": "⁹", "+": "⁺", "-": "⁻",
                "(": "⁽", ")": "⁾", "n": "ⁿ", "i": "ⁱ", "a": "ᵃ", "b": "ᵇ", "c": "ᶜ", "d": "ᵈ", "e": "ᵉ", "h": "ʰ", "k": "ᵏ", "m": "ᵐ",
                "o": "ᵒ", "p": "ᵖ", "r": "ʳ", "s": "ˢ", "t": "ᵗ", "x": "ˣ"}
SUBSCRIPTS = {"0": "₀", "1": "₁", "2": "₂", "3": "₃", "4": "₄", "5": "₅", "6": "₆", "7": "₇", "8": "₈", "9": "₉", "+": "₊", "-": "₋",
              "(": "₍", ")": "₎", "i": "ᵢ", "j": "ⱼ", "k": "ₖ", "m": "ₘ", "n": "ₙ", "p": "ₚ", "s": "ₛ", "t": "ₜ", "x": "ₓ"}
