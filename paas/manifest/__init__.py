"""What a repository says about itself: its Procfile and its app.json. Pure. Imports `nouns`.

Begin with `procfile`, then `appjson` (`jsonvalues` checks its values); `wishes` turns the config vars an app.json asks for into values.
"""
