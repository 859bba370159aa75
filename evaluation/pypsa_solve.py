"""A stochastic network of PyPSA on the scenarios of a folder, solved: what `pypsa_network.py` runs there.

python evaluation/pypsa_solve.py FOLDER

One bus, the loads and solar generators of the folder, a plant whose capacity is chosen before anybody knows
which scenario comes, and a slack that stands for what lacks. Prints a line of JSON.
"""

import json
import sys
from pathlib import Path

import pandas as pd

__all__ = ["BUILT", "LACKING", "RUN"]

#: Costs of a kW of capacity, of a kWh from it, and of one that lacks.
BUILT, RUN, LACKING = 1.0, 0.1, 3.0


def main(folder: Path) -> dict[str, object]:
    import pypsa

    weights = pd.read_parquet(folder / "scenarios.parquet").set_index("scenario")["weight"]
    loads = pd.read_parquet(folder / "loads-p_set.parquet")
    sun = pd.read_parquet(folder / "generators-p_max_pu.parquet")
    rated = pd.read_parquet(folder / "generators.parquet").set_index("name")["p_nom"]

    network = pypsa.Network(snapshots=loads.index)
    network.add("Bus", "town")
    network.add("Load", loads.columns.unique("name"), bus="town")
    network.add("Generator", rated.index, bus="town", p_nom=rated)
    plant = {"p_nom_extendable": True, "capital_cost": BUILT, "marginal_cost": RUN}
    network.add("Generator", "plant", bus="town", **plant)
    network.add("Generator", "lacking", bus="town", p_nom=1e6, marginal_cost=LACKING)
    network.set_scenarios(weights.to_dict())
    network.c.loads.dynamic.p_set = loads
    network.c.generators.dynamic.p_max_pu = sun
    status, condition = network.optimize(solver_name="highs")
    return {
        "versions": {"pypsa": pypsa.__version__, "pandas": pd.__version__},
        "status": f"{status}, {condition}",
        "scenarios": len(weights),
        "built": float(network.c.generators.static.p_nom_opt.xs("plant", level="name").iloc[0]),
        "cost": float(network.objective),
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
