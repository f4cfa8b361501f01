import sys,subprocess
from tests.simulation.world import world
seed=int(sys.argv[1])
with world(seed) as m:
    try: m.run()
    except AssertionError as e:
        print(e)
        for k in sorted(m.checks.missing())[:3]:
            print(k.lease.hex(), k.pilot_run.hex(), 'spool', m.ledger.spools[k])
            print(subprocess.run(f"find {m.folder} -name '*{k.lease.hex()}*' -o -name '*{k.pilot_run.hex()}*'; grep -rl --include=*.reason . {m.folder} | head; cat {m.folder}/*/quarantine/*.reason | grep -v fields | head -40",shell=True,capture_output=True,text=True).stdout)
        print([ (s.label,s.spool_number) for s in m.sites])
        print(subprocess.run(f"ls -la {m.folder}/ {m.folder}/*/out {m.folder}/*/sent {m.folder}/*/rejected {m.folder}/*/sealed {m.folder}/*/work {m.folder}/*/claimed; ls {m.folder}/*/streams/*",shell=True,capture_output=True,text=True).stdout)
